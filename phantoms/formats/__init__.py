"""Phantom files: the own HDF5 format and those of other simulators."""
