"""Harmonizers of images: intensities, histograms, spectra, bias fields."""
