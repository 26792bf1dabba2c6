"""mrsim: what MRI harmonization truly fixes, measured against a known truth."""

__version__ = "0.1.0"
