"""Harmonizers of feature tables: the ComBat family, residuals, and what they are fitted with."""
