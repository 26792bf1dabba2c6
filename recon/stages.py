"""One slice or volume of a measurement: which readouts, which path through the reconstruction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid, KSpace, calibration_only, load_kspace
from .coils import CoilMaps
from .errors import RawDataError
from .geometry import slice_order
from .ghost import GhostCorrection
from .grappa import GrappaKernel
from .gridding import Gridder
from .multiband import MultibandGroup, separate
from .noise import NoiseModel
from .options import ReconOptions
from .raw import RawData
from .volume import Record, grappa_kernel, reconstruct_cartesian, sensitivity_maps

__all__ = ["Job", "line_wise"]


def line_wise(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid) -> bool:
    """Whether the readouts are lines of a Cartesian matrix; otherwise their stored trajectory is gridded.

    Echo trains are lines where the header describes their readout, or where no trajectory is stored.

    Raises
    ------
    RawDataError
        The trajectory is needed, and missing.
    """
    encoding = grid.encoding
    if encoding.trajectory == "cartesian":
        return True
    stored = raw.heads["trajectory_dimensions"][rows] > 0
    if encoding.trajectory == "epi" and (
        encoding.epi is not None or encoding.multiband is not None or not stored.any()
    ):
        return True
    if not stored.all():
        raise RawDataError(
            f"{raw.source}: trajectory '{encoding.trajectory}' needs stored k-space positions; readout "
            f"{int(rows[np.argmin(stored)])} has none. Store them or grid the data first."
        )
    return False


@dataclass(kw_only=True)
class Job:
    """A measurement on its way to images."""

    raw: RawData
    rows: NDArray[np.intp]
    grid: CartesianGrid
    noise: NoiseModel
    options: ReconOptions
    record: Record
    ghost: GhostCorrection | None = None
    gridder: Gridder | None = None
    maps: dict[int, CoilMaps | None] = field(default_factory=dict)
    _kernels: dict[tuple[int, bytes], GrappaKernel] = field(default_factory=dict)
    _slice_kernels: dict[bytes, NDArray[np.complex64]] = field(default_factory=dict)
    _references: dict[bytes, KSpace] = field(default_factory=dict)
    _only: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._only = calibration_only(self.raw)
        if line_wise(self.raw, self.rows, self.grid):
            if self.grid.encoding.trajectory == "epi":
                self.ghost = GhostCorrection(
                    raw=self.raw, grid=self.grid, method=self.options.ghost_correction
                )
        else:
            self.gridder = Gridder(grid=self.grid, options=self.options)
            kind = self.grid.encoding.trajectory
            self.record.note(f"stored trajectory gridded (header says '{kind}')")

    def volume(self, slices: list[NDArray[np.intp]]) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Image (x, y, z) of a volume and one readout for each of its slices, in order of position."""
        ordered = slice_order(self.raw, slices)
        if len(ordered) > 1 and self.grid.encoded[2] > 1:
            raise RawDataError(
                f"{self.raw.source}: {len(ordered)} slabs of {self.grid.encoded[2]} partitions: multi-slab "
                "data are not supported. Split the file by slice counter."
            )
        multiband = self.grid.encoding.multiband
        if multiband is not None and multiband.factor > 1:
            return self._simultaneous(ordered)
        images = [self.slice_image(rows) for rows in ordered]
        return np.concatenate(images, axis=2), np.array([rows[0] for rows in ordered])

    def slice_image(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Image (x, y, z) of one slice or slab."""
        if self.gridder is not None:
            return self.gridder.image(self.raw, rows, self.noise, self.record)
        return self.cartesian(
            self.kspace(rows), int(self.raw.heads["slice"][rows[0]]), rows[self._only[rows]]
        )

    def kspace(self, rows: NDArray[np.intp]) -> KSpace:
        """Sorted lines of one slice or slab."""
        return load_kspace(self.raw, rows, self.grid, self.noise, self.ghost)

    def cartesian(self, kspace: KSpace, number: int, calibration: NDArray[np.intp]) -> NDArray[Any]:
        """Image of sorted lines of slice `number`; weights are kept for volumes of equal calibration rows."""
        source = self.raw.source
        if self.options.shared_maps and number not in self.maps:
            self.maps[number] = sensitivity_maps(kspace, self.options)
        maps = self.maps.get(number)
        kernel, key = None, (number, np.append(calibration, kspace.lattice).tobytes())
        wanted = self.options.acceleration in ("auto", "grappa") and max(kspace.acceleration) > 1
        if wanted and len(calibration):
            kernel = self._kernels.get(key) or grappa_kernel(kspace, source)
            self._kernels[key] = kernel
        return reconstruct_cartesian(kspace, self.grid, self.options, self.record, source, maps, kernel)

    def share_maps(self, volumes: list[list[NDArray[np.intp]]]) -> None:
        """Estimate each slice's sensitivities once, from the volume in which it is brightest."""
        if self.gridder is not None:
            self.record.note("shared_maps: gridded data keep their own sensitivities")
            return
        multiband = self.grid.encoding.multiband
        if multiband is not None and multiband.factor > 1:
            return  # only separated slices have maps of their own: those of the first volume serve
        best: dict[int, tuple[float, NDArray[np.intp]]] = {}
        energy = _energy(self.raw)
        for slices in volumes:
            for rows in slices:
                number = int(self.raw.heads["slice"][rows[0]])
                power = float(energy[rows].mean())
                if number not in best or power > best[number][0]:
                    best[number] = (power, rows)
        for number, (_, rows) in best.items():
            self.maps[number] = sensitivity_maps(self.kspace(rows), self.options)

    def _simultaneous(self, groups: list[NDArray[np.intp]]) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Slices of a volume whose readouts hold several each."""
        only = self.rows[self._only[self.rows]]
        images, first = [], []
        for rows in groups:
            imaging = rows[~np.isin(rows, only)]
            group = MultibandGroup.find(self.raw, imaging, only, self.grid)
            references = [self._reference(part) for part in group.references]
            try:
                parts = separate(group, self.kspace(imaging), references, self.record, self._slice_kernels)
            except ValueError as error:
                raise RawDataError(f"{self.raw.source}: {error}") from None
            for (row, kspace), rows_ in zip(parts, group.references, strict=True):
                images.append(self.cartesian(kspace, int(self.raw.heads["slice"][row]), rows_))
                first.append(row)
        heads = self.raw.heads[first]
        order = np.argsort((heads["position"] * heads[0]["slice_dir"]).sum(axis=1), kind="stable")
        return np.concatenate([images[i] for i in order], axis=2), np.array([first[i] for i in order])

    def _reference(self, rows: NDArray[np.intp]) -> KSpace:
        key = rows.tobytes()
        if key not in self._references:
            self._references[key] = self.kspace(rows)
        return self._references[key]


def _energy(raw: RawData) -> NDArray[np.float64]:
    """Power of each readout."""
    power = np.zeros(len(raw.heads))
    for group in raw.groups:
        for i in range(0, len(group.index), 1024):
            part = group.data[i : i + 1024]
            power[group.index[i : i + 1024]] = np.einsum("ncx,ncx->n", part.conj(), part).real
    return power
