"""Harmonizers of diffusion-weighted images."""
