"""A scan whose images are noiseless but whose noise scan is not.

Coils are decorrelated and weighted by the covariance that the noise scan measures. If that scan fell silent
with the images, switching off the noise would also change how coils are combined, and a shading would count
as noise. So the deviates of all other readouts are set to zero instead.
"""

from typing import Any

import numpy as np


class _NoiseScanOnly(np.random.Generator):
    """Draws as its source does; what belongs to readouts other than the noise scan's becomes zero.

    The simulation draws the noise of all readouts in play order, as blocks (readouts, coils, samples, 2).
    """

    def __init__(self, source: np.random.Generator, noise_scan: np.ndarray[Any, Any]) -> None:
        super().__init__(source.bit_generator)
        self._noise_scan = np.asarray(noise_scan, dtype=bool)
        self._next = 0

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Return deviates (readouts, coils, samples, 2), zero for readouts with images."""
        if not isinstance(size, tuple) or len(size) != 4 or out is not None:
            raise TypeError(f"noise must be drawn as (readouts, coils, samples, 2); got size={size}.")
        kept = self._noise_scan[self._next : self._next + size[0]]
        if kept.size != size[0]:
            raise ValueError(f"noise must be drawn for {self._noise_scan.size} readouts; got more.")
        self._next += size[0]
        values = super().standard_normal(size, dtype)
        values[~kept] = 0.0
        return values


def noise_scan_only(source: np.random.Generator, noise_scan: np.ndarray[Any, Any]) -> np.random.Generator:
    """Return a generator for a simulation whose noise is heard in the noise scan only.

    Parameters
    ----------
    source : numpy.random.Generator
        Gives the deviates: the noise scan is the same as with noise everywhere.
    noise_scan : bool array (readouts,)
        Which readouts, in play order, measure noise.
    """
    return _NoiseScanOnly(source, noise_scan)
