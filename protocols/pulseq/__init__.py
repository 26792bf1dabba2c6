"""Pulseq files: read strictly, checked, assembled."""
