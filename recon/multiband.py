"""Slices excited together: split slice-GRAPPA with a single-band reference.

Setsompop et al. 2012 (doi:10.1002/mrm.23097) with the leakage-blocking fit of Cauley et al. 2014
(doi:10.1002/mrm.24898): a kernel for each slice is to reproduce that slice's reference, and to give nothing
for the references of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid, KSpace, line_indices
from .errors import RawDataError
from .fourier import fft_centred, ifft_centred
from .raw import RawData
from .volume import Record

__all__ = ["MultibandGroup", "apply_slice_kernels", "fit_slice_kernels", "separate", "slice_leakage"]

Complex = NDArray[np.complex64]
_KERNEL = (5, 5)
K_ORIGIN = "k_origin_mm_"
"""User parameters (x, y, z in LPS): where gradients encode no phase; the isocentre where they are absent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultibandGroup:
    """Slices in one readout.

    rows : imaging readouts;  references : rows of each slice's single-band reference, in order of position;
    height : position of each slice along the slice direction from the point without encoding [m];
    kz : partition encoding of each line of the matrix [1/m], for the imaging and each reference's lines
    """

    rows: NDArray[np.intp]
    references: tuple[NDArray[np.intp], ...]
    height: NDArray[np.float64]
    kz: tuple[NDArray[np.float64], ...]

    @classmethod
    def find(
        cls, raw: RawData, rows: NDArray[np.intp], only: NDArray[np.intp], grid: CartesianGrid
    ) -> MultibandGroup:
        """Look up the references of the slices that the rows excite together.

        Parameters
        ----------
        rows
            Imaging readouts of one group; their position is that of its lowest slice.
        only
            Calibration readouts of the measurement.

        Raises
        ------
        RawDataError
            A slice of the group has no single-band reference.
        """
        multiband = grid.encoding.multiband
        assert multiband is not None  # asked for only where the header says so
        direction = raw.heads["slice_dir"][rows[0]]
        told = [raw.header.parameters.get(K_ORIGIN + axis, 0.0) for axis in "xyz"]
        if not all(isinstance(v, int | float) for v in told):
            raise RawDataError(
                f"{raw.source}: user parameters {K_ORIGIN}x, y and z must be numbers; got {told}. Mend them."
            )
        origin = np.array(told, float)
        along = 1e-3 * (raw.heads["position"] - origin) @ direction
        wanted = along[rows[0]] + np.concatenate([[0.0], np.cumsum(multiband.gaps)])
        tolerance = 0.1 * min((abs(g) for g in multiband.gaps), default=1e-3)
        references = []
        for height in wanted:
            near = only[np.abs(along[only] - height) < tolerance]
            if not len(near):
                raise RawDataError(
                    f"{raw.source}: no single-band reference for the slice at {1e3 * height:.2f} mm of a "
                    f"group of {multiband.factor}. Acquire one, flagged as calibration."
                )
            same = raw.heads["repetition"][near] == raw.heads["repetition"][near[0]]
            references.append(near[same])
        kz = tuple(_partition_encoding(raw, part, grid) for part in (rows, *references))
        return cls(rows=rows, references=tuple(references), height=np.asarray(wanted), kz=kz)


def _partition_encoding(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid) -> NDArray[np.float64]:
    """Find kz [1/m] of each line of the matrix from the stored trajectory; 0 where none is stored."""
    total, count = np.zeros(grid.encoded[1]), np.zeros(grid.encoded[1])
    place = np.full(len(raw.heads), -1, np.intp)
    place[rows] = line_indices(raw, rows, grid, 1)
    for group in raw.groups:
        inside = np.flatnonzero(place[group.index] >= 0)
        if group.trajectory is None or group.trajectory.shape[2] < 3 or not len(inside):
            continue
        # In units of the encoded field of view, which along slices is one pixel: either convention.
        np.add.at(total, place[group.index[inside]], group.trajectory[inside][:, :, 2].mean(axis=1))
        np.add.at(count, place[group.index[inside]], 1.0)
    return np.asarray(total / np.maximum(count, 1) / grid.encoding.encoded.fov[2])


def separate(
    group: MultibandGroup,
    collapsed: KSpace,
    references: list[KSpace],
    record: Record,
    known: dict[bytes, Complex] | None = None,
) -> list[tuple[int, KSpace]]:
    """Lines of each slice from lines that hold all of them: [(a row of its reference, lines), ...].

    The references become the slices' calibration lines. `known` keeps kernels for the next volume of equal
    lines.  How much of the other slices each kernel lets
    through, measured on the references, goes into the record.

    Raises
    ------
    ValueError
        The references have too few lines in common with the imaging readouts.
    """
    shift = group.height - group.height[0]  # a phase that all slices share stays out of the kernels
    lattice = np.sort(np.unique(collapsed.ky))
    mixed = _to_k(collapsed, lattice, group.kz[0] * group.height[0])
    known = {} if known is None else known
    key = b"".join(a.tobytes() for a in (lattice, np.round(group.kz[0], 6), *group.references))
    if key not in known:
        common = _common_lines(lattice, references)
        single = np.stack(
            [
                _to_k(part, common, kz * height - group.kz[0] * s)
                for part, kz, height, s in zip(references, group.kz[1:], group.height, shift, strict=True)
            ]
        )
        known[key] = fit_slice_kernels(single)
        record.recipe.setdefault("multiband_leakage", []).append(
            [round(v, 5) for v in slice_leakage(single, known[key])]
        )
    slices = apply_slice_kernels(mixed, known[key])
    found = []
    for s, part in enumerate(references):
        own = ifft_centred(slices[s], (1,)).transpose(2, 0, 1)
        own = own * np.exp(2j * np.pi * group.kz[0] * shift[s]).astype(np.complex64)[lattice, None, None]
        calibration = (
            part.lines
            * np.exp(2j * np.pi * group.kz[1 + s] * group.height[s]).astype(np.complex64)[part.ky, None, None]
        )
        found.append((int(group.references[s][0]), _joined(collapsed, lattice, own, part, calibration)))
    return found


def _common_lines(lattice: NDArray[np.intp], references: list[KSpace]) -> NDArray[np.intp]:
    """Lines of the lattice that all references hold: the longest run of neighbours on the lattice."""
    held = np.all([np.isin(lattice, part.ky) for part in references], axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], held.astype(int), [0]])))
    runs = edges.reshape(-1, 2)
    longest = runs[np.argmax(runs[:, 1] - runs[:, 0])] if len(runs) else np.zeros(2, int)
    if longest[1] - longest[0] < 2 * _KERNEL[1]:
        raise ValueError(
            f"single-band references must hold at least {2 * _KERNEL[1]} neighbouring lines of the imaging "
            f"readouts; got {int(longest[1] - longest[0])}. Acquire more reference lines."
        )
    return np.asarray(lattice[longest[0] : longest[1]])


def _to_k(part: KSpace, lattice: NDArray[np.intp], turns: NDArray[np.float64]) -> Complex:
    """k-space (coil, kx, line of the lattice), each line turned back by `turns` of its ky."""
    row = np.zeros(part.shape[2], np.intp)
    row[part.ky] = np.arange(len(part.ky))
    lines = part.lines[row[lattice]] * np.exp(2j * np.pi * turns[lattice]).astype(np.complex64)[:, None, None]
    return fft_centred(lines.transpose(1, 2, 0), (1,))


def _joined(
    collapsed: KSpace, lattice: NDArray[np.intp], own: Complex, part: KSpace, calibration: Complex
) -> KSpace:
    lines = np.concatenate([own, calibration])
    return replace(
        collapsed,
        lines=np.ascontiguousarray(lines, np.complex64),
        ky=np.concatenate([lattice, part.ky]),
        kz=np.zeros(len(lines), np.intp),
        calibration_only=np.arange(len(lines)) >= len(lattice),
    )


def _patches(k: Complex, size: tuple[int, int], *, pad: bool) -> Complex:
    """Neighbourhoods (coil * taps, points) of k-space (coil, kx, ky): of the inner points, or zero beyond."""
    if pad:
        k = np.pad(k, ((0, 0), (size[0] // 2,) * 2, (size[1] // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(k, size, axis=(1, 2))
    return np.asarray(windows.transpose(0, 3, 4, 1, 2).reshape(len(k) * size[0] * size[1], -1))


def _inner(k: Complex, size: tuple[int, int]) -> Complex:
    a, b = size[0] // 2, size[1] // 2
    return np.asarray(k[..., a : k.shape[-2] - a, b : k.shape[-1] - b])


def fit_slice_kernels(
    references: Complex, *, size: tuple[int, int] = _KERNEL, regularisation: float = 1e-4
) -> Complex:
    """Kernels (slice, coil, coil * taps) that pass one slice and block the others.

    Parameters
    ----------
    references
        Single-band k-space of each slice with the phases of the simultaneous acquisition,
        (slice, coil, kx, ky); whole or a block of it.
    size
        Kernel along (kx, ky), odd.
    regularisation
        Tikhonov term relative to the mean diagonal of the normal matrix.
    """
    normal: NDArray[np.complex128] | float = 0.0
    right = []
    for k in references:
        a = _patches(k, size, pad=False)
        target = _inner(k, size).reshape(len(k), -1)
        normal = normal + (a.conj() @ a.T).astype(np.complex128)
        right.append((a.conj() @ target.T).astype(np.complex128))
    matrix = np.asarray(normal)
    matrix[np.diag_indices_from(matrix)] += regularisation * np.trace(matrix).real / len(matrix)
    solution = np.linalg.solve(matrix, np.concatenate(right, axis=1))
    split = solution.reshape(len(matrix), len(references), -1)
    return np.asarray(split.transpose(1, 2, 0), np.complex64)


def apply_slice_kernels(k: Complex, kernels: Complex, *, size: tuple[int, int] = _KERNEL) -> Complex:
    """Slices (slice, coil, kx, ky) from k-space (coil, kx, ky) that holds their sum."""
    patches = _patches(k, size, pad=True)
    return np.asarray(np.stack([(w @ patches).reshape(k.shape) for w in kernels]))


def slice_leakage(references: Complex, kernels: Complex, *, size: tuple[int, int] = _KERNEL) -> list[float]:
    """Norm of what each kernel makes of the other slices' references, relative to its own slice's."""
    leaked = []
    for s, kernel in enumerate(kernels):
        rest = references.sum(axis=0) - references[s]
        through = kernel @ _patches(rest, size, pad=False)
        own = float(np.linalg.norm(_inner(references[s], size)))
        leaked.append(float(np.linalg.norm(through)) / max(own, 1e-30))
    return leaked
