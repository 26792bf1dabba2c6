"""Scanner records: one installed system, as far as it changes images."""
