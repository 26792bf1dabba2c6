"""The packaged heads, derived from the ICBM 152 2009a template and from Colin27."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..phantom import Phantom, PhantomError
from .head_file import Box, Codes, HeadFile, read_head_file

DATA = Path(__file__).parents[1] / "data"
HEAD_FILE = DATA / "icbm152_head.h5"
COLIN_FILE = DATA / "colin27_head.h5"
REGION_TISSUES: dict[str, str] = {
    "ventricles": "ventricular_csf",
    "sulcal_csf": "csf",
    "cortical_gm": "gm",
    "cerebral_wm": "wm",
    "cerebellum_gm": "cerebellar_gm",
    "cerebellum_wm": "cerebellar_wm",
    "brainstem": "brainstem",
    "thalamus": "thalamus",
    "caudate": "caudate",
    "putamen": "putamen",
    "pallidum": "pallidum",
    "hippocampus": "hippocampus",
    "amygdala": "amygdala",
    "accumbens": "accumbens",
    "red_nucleus": "red_nucleus",
    "substantia_nigra": "substantia_nigra",
    "dentate": "dentate",
    "arteries": "arterial_blood",
    "veins": "venous_blood",
}
"""Tissue whose fraction defines the volume of each region."""
PAIRED = (
    "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala", "accumbens", "red_nucleus",
    "substantia_nigra", "dentate",
)  # fmt: skip
REGIONS: dict[int, str] = {
    **{k + 1: n for k, n in enumerate(n for n in REGION_TISSUES if n not in PAIRED)},
    **{11 + 2 * k: f"{n}_left" for k, n in enumerate(PAIRED)},
    **{12 + 2 * k: f"{n}_right" for k, n in enumerate(PAIRED)},
}
"""Region name per label of the packaged heads."""
LABEL_OF = {name: label for label, name in REGIONS.items()}


VoxelSize = float | tuple[float, float, float]


def icbm152_head(voxel_size: VoxelSize | None = 1e-3) -> Phantom:
    """Return the head of a mean adult: symmetric brain, synthetic skull, scalp, face and neck.

    Parameters
    ----------
    voxel_size : float or tuple of float, optional
        Voxel edge lengths [m]. The template grid (0.9 mm) is averaged over each voxel's area, so volumes are
        kept at any size; None returns the template grid itself.

    Returns
    -------
    Phantom
        Fractions of 26 tissues with region labels; the origin is near the anterior commissure, the
        intracranial volume 1525 mL. `truth` holds the volumes [mL] and the notice that must travel with the
        data. The arrays are shared between calls and read-only.
    """
    return _load("icbm152", _checked(voxel_size))


def colin27_head(voxel_size: VoxelSize | None = 1e-3) -> Phantom:
    """Return the head of one man: sharp, asymmetric, with his own skull, marrow, fat and scalp.

    Derived from Colin27, an average of 27 scans, segmented by this project and scaled to the intracranial
    volume of `icbm152_head`. The face in front of the scan and the neck below it are continued.

    Parameters
    ----------
    voxel_size : float or tuple of float, optional
        As in `icbm152_head`.

    Returns
    -------
    Phantom
        The same tissues, regions and truth as `icbm152_head`.
    """
    return _load("colin27", _checked(voxel_size))


def _checked(voxel_size: VoxelSize | None) -> tuple[float, float, float] | None:
    if voxel_size is None:
        return None
    size = np.broadcast_to(np.asarray(voxel_size, float), 3)
    if not (np.isfinite(size).all() and (size >= 2e-4).all() and (size <= 2e-2).all()):
        raise PhantomError(f"voxel_size must be in metres, 0.2 mm to 20 mm; got {voxel_size}. 1 mm is 1e-3.")
    return float(size[0]), float(size[1]), float(size[2])


@lru_cache(maxsize=2)
def _load(name: str, voxel_size: tuple[float, float, float] | None) -> Phantom:
    file = read_head_file({"icbm152": HEAD_FILE, "colin27": COLIN_FILE}[name])
    affine = file.affine
    if voxel_size is None:
        fractions = np.zeros((len(file.tissues), *file.shape), np.float32)
        for out, (box, codes) in zip(fractions, file.parts, strict=True):
            np.multiply(codes, np.float32(1.0 / file.levels), out=out[box])
    else:
        fractions, affine = _average(file.parts, file.levels, file.shape, affine, voxel_size)
    side = left_of(affine, fractions.shape[1:])
    labels = region_labels(fractions, file.tissues, side)
    for array in (fractions, labels):
        array.setflags(write=False)
    volumes = region_volumes(fractions, file.tissues, side, affine)
    truth: dict[str, Any] = {"volumes_ml": volumes, "notice": file.notice}
    truth["icv_ml"] = intracranial_volume(volumes)
    return Phantom(
        name=name, fractions=fractions, affine=affine, labels=labels, truth=truth, **description(file)
    )


def description(file: HeadFile) -> dict[str, Any]:
    """Return tissues, regions and provenance of a packaged head, by the names of `Phantom`."""
    provenance = {"source": file.origin, "licence": "HPND (McGill notice)", "notice": file.notice}
    return {"tissues": file.tissues, "regions": dict(REGIONS), "provenance": provenance}


def _average(
    parts: Sequence[tuple[Box, Codes]],
    levels: int,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    voxel_size: tuple[float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Area-average cropped tissue codes onto a grid of another voxel size that covers the same box."""
    ratio = [v / s for v, s in zip(voxel_size, np.diag(affine)[:3], strict=True)]
    size = [math.ceil(n / r - 1e-9) for n, r in zip(shape, ratio, strict=True)]
    # Index coordinate of the first output edge: the output box is centred on the input box.
    first = [0.5 * (n - m * r) for n, m, r in zip(shape, size, ratio, strict=True)]
    out = np.zeros((len(parts), *size), np.float32)
    for k, (box, data) in enumerate(parts):
        start = [s.start for s in box]
        part = data.astype(np.float32) * np.float32(1.0 / levels)
        where = [slice(k, k + 1)]
        for a in range(3):
            lo = max(0, math.floor((start[a] - first[a]) / ratio[a]))
            hi = min(size[a], math.ceil((start[a] + data.shape[a] - first[a]) / ratio[a]))
            outer = int(np.prod(part.shape[:a]))
            flat = np.ascontiguousarray(part).reshape(outer, part.shape[a], -1)
            edge = first[a] + lo * ratio[a] - start[a]
            result = _average_axis(flat, edge, ratio[a], hi - lo)
            part = result.reshape(*part.shape[:a], hi - lo, *part.shape[a + 1 :])
            where.append(slice(lo, hi))
        out[tuple(where)] = part
    new = np.diag([*voxel_size, 1.0])
    for a in range(3):
        new[a, 3] = affine[a, 3] + (first[a] + 0.5 * ratio[a] - 0.5) * affine[a, a]
    return np.clip(out, 0.0, 1.0, out=out), new


@njit(cache=True)  # type: ignore[untyped-decorator]
def _average_axis(data: NDArray[np.float32], first: float, ratio: float, size: int) -> NDArray[np.float32]:
    """Average along the middle axis; output cell i covers first + i*ratio .. first + (i+1)*ratio."""
    outer, n, inner = data.shape
    out = np.zeros((outer, size, inner), np.float32)
    for i in range(size):
        low, high = first + i * ratio, first + (i + 1) * ratio
        for j in range(max(0, int(low)), min(n, int(high) + 1)):
            weight = np.float32((min(high, j + 1.0) - max(low, float(j))) / ratio)
            if weight <= 0:
                continue
            for o in range(outer):
                for k in range(inner):
                    out[o, i, k] += weight * data[o, j, k]
    return out


def left_of(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the share of each voxel plane at x < 0, broadcastable to (x, y, z), for an axis-aligned grid."""
    x = affine[0, 0] * np.arange(shape[0]) + affine[0, 3]
    return np.asarray(np.clip(0.5 - x / affine[0, 0], 0, 1)[:, None, None], np.float32)


def region_labels(
    fractions: NDArray[np.float32], tissues: tuple[str, ...], left: NDArray[np.float32]
) -> NDArray[np.int16]:
    """Label each voxel with the region of its largest tissue; 0 where that is air or outside the skull."""
    best = np.zeros(fractions.shape[1:], np.float32)
    labels = np.zeros(best.shape, np.int16)
    region_of = {t: r for r, t in REGION_TISSUES.items()}
    remainder = np.ones(best.shape, np.float32)
    for name, f in zip(tissues, fractions, strict=True):
        box = bounding_box(f)
        g, b, out = f[box], best[box], labels[box]
        remainder[box] -= g
        region = region_of.get(name)
        wins = g > b
        if region is None:
            out[wins] = 0
        elif region in PAIRED:
            side = np.broadcast_to(left, best.shape)[box] >= 0.5
            out[wins] = np.where(side, LABEL_OF[f"{region}_left"], LABEL_OF[f"{region}_right"])[wins]
        else:
            out[wins] = LABEL_OF[region]
        np.maximum(b, g, out=b)
    labels[remainder > best] = 0
    return labels


def bounding_box(f: NDArray[Any]) -> tuple[slice, slice, slice]:
    """Bounding box of the non-zero part of an array."""
    out = []
    for axis in range(3):
        used = np.flatnonzero(f.any(axis=tuple(a for a in range(3) if a != axis)))
        out.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0))
    return out[0], out[1], out[2]


def region_volumes(
    fractions: NDArray[np.float32],
    tissues: tuple[str, ...],
    left: NDArray[np.float32],
    affine: NDArray[np.float64],
) -> dict[str, float]:
    """Return region volumes [mL] as sums of tissue fractions, so partial volumes count in proportion."""
    unit = float(abs(np.linalg.det(affine[:3, :3]))) * 1e6
    out: dict[str, float] = {}
    for region, tissue in REGION_TISSUES.items():
        f = fractions[tissues.index(tissue)]
        box = bounding_box(f)
        out[region] = float(f[box].sum(dtype=np.float64)) * unit
        if region in PAIRED:
            side = np.broadcast_to(left, f.shape)[box]
            out[f"{region}_left"] = float((f[box] * side).sum(dtype=np.float64)) * unit
            out[f"{region}_right"] = out[region] - out[f"{region}_left"]
    return out


def intracranial_volume(volumes: dict[str, float]) -> float:
    """Return the intracranial volume, the sum of all regions."""
    return sum(volumes[r] for r in REGION_TISSUES)
