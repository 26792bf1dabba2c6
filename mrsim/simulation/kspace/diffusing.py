"""Diffusion weighting along the echo path, where strong gradients weight more than spoilers do.

Phase graphs take diffusion from net moments, as in spoiled and refocused trains. After fresh excitations with
few refocusing pulses (echo-planar imaging, diffusion preparations) only the echo path is heard, and its
b-tensor counts every gradient exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols import Sequence, b_tensors

from ..diffusion import PlacedDiffusion, distinct_tensors
from .spins import Species, Window
from .train import Timeline

_SHORT_TRAIN = 3
"""Refocusing pulses after an excitation up to which the echo path is all that is heard."""
_KEPT = 8_000_000
"""Voxels up to which the matrices of nonlinear gradients are kept for all tissues (72 bytes each)."""
_SAME = 3e-3
"""Difference of attenuations below which b-tensors count as one (the readout's own part along a train)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighting:
    """b-tensors of the readouts and what they do to the spins.

    kind : (R,) which b-tensor each readout has;  b : (kinds, 3, 3) logical axes [s/m^2];
    diffusion : of the placed object.
    """

    kind: np.ndarray
    b: np.ndarray
    diffusion: PlacedDiffusion
    _voxels: dict[tuple[object, ...], Any] = field(default_factory=dict)
    _kept: dict[tuple[object, ...], tuple[np.ndarray, ...]] = field(default_factory=dict)

    @classmethod
    def along(cls, sequence: Sequence, line: Timeline, diffusion: PlacedDiffusion) -> Weighting | None:
        """Weighting of a sequence, None where phase graphs take diffusion into account."""
        use = np.array(line.path.use)
        starts = np.flatnonzero(use == "excitation")
        if starts.size == 0 or not line.fresh[starts].all():
            return None
        counts = np.add.reduceat((use == "refocusing").astype(int), starts)
        if counts.max() > _SHORT_TRAIN:
            return None
        tensors = b_tensors(sequence)[line.readouts.adc]
        b, kind = distinct_tensors(tensors, tolerance=_SAME)
        return cls(kind=np.asarray(kind, np.int64), b=b, diffusion=diffusion)

    def of(self, readout: int, species: Species, window: Window) -> dict[str, Any]:
        """Attenuation of each species, as `images.form_images` takes it."""
        b = self.b[self.kind[readout]][None]
        scalar, which = np.ones(species.size), np.full(species.size, -1)
        rows: list[np.ndarray] = []
        row_of: dict[int, int] = {}
        for s, tissue in enumerate(species.tissue.tolist()):
            voxels = self._at(tissue, window)
            if voxels.uniform:
                scalar[s] = float(voxels.factors(b)[0, 0])
                continue
            if tissue not in row_of:
                row_of[tissue] = len(rows)
                rows.append(voxels.factors(b)[0])
            which[s] = row_of[tissue]
        found: dict[str, Any] = {"scalar": scalar}
        if rows:
            found |= {"attenuation": np.stack(rows), "which": which}
        return found

    def _at(self, tissue: int, window: Window) -> Any:
        part = window.part
        key = (tissue, *((s.start, s.stop) for s in part))
        if key not in self._voxels:
            shape = self.diffusion.placed.grid.array_shape
            axes = np.meshgrid(*(np.arange(s.start, s.stop) for s in part), indexing="ij")
            where = np.ravel_multi_index([a.reshape(-1) for a in axes], shape)
            self._voxels[key] = self.diffusion.at(tissue, where, matrices=self._matrices_of(key[1:], where))
        return self._voxels[key]

    def _matrices_of(self, window: tuple[object, ...], where: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """Matrices of a window's voxels, the last window's kept: they are the same for all tissues."""
        if where.size > _KEPT:
            return None
        if window not in self._kept:
            self._kept.clear()
            self._voxels.clear()
            self._kept[window] = tuple(self.diffusion.matrices(where))
        return self._kept[window]
