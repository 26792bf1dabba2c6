"""Heads: from the MNI maps, from Colin27, and by formulas; the tools that built the packaged files."""
