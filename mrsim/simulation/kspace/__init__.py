"""The k-space engine: phase graphs over the pulses, Fourier transforms over the readouts.

`path` follows the k-space of a sequence (`played` by a real system), `train` and `slices` turn its pulses
into what `epg` plays, `histories` and `table` tabulate the magnetization of every distinct spin, `modulation`
finds the few `images` whose Fourier transforms (`encode`, `groups`, `part`) make up the `signal`.
"""
