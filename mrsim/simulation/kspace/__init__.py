"""The k-space engine: phase graphs over the pulses, Fourier transforms over the readouts.

`path` follows the k-space of a sequence, `train` and `slices` turn its pulses into what `epg` plays,
`histories` tabulates the magnetization of every distinct spin, `modulation` finds the few images whose
Fourier transforms (`encode`, `groups`) make up the `signal`.
"""
