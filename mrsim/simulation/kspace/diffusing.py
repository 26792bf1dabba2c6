"""Diffusion weighting along the echo path, where strong gradients weight more than spoilers do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .spins import Species, Window


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighting:
    """b-tensors of the readouts and what they do to the spins.

    kind : (R,) which b-tensor each readout has;  b : (kinds, 3, 3) logical axes [s/m^2];
    adc : (tissues,) [m^2/s].
    """

    kind: np.ndarray
    b: np.ndarray
    adc: np.ndarray

    def of(self, readout: int, species: Species, window: Window) -> dict[str, Any]:
        """Attenuation of each species, as `modulation.images` takes it."""
        trace = float(np.trace(self.b[self.kind[readout]]))
        return {"scalar": np.exp(-trace * self.adc[species.tissue])}
