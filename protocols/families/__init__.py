"""Sequence families: from a card and a scanner to blocks of pulses, gradients and readouts."""
