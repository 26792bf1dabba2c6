"""Thickness of the cortical ribbon, measured on maps and carried along by deformations.

From every voxel of grey matter a line runs both ways along the gradient of the distance to white matter; the
thickness there is the integral of the grey-matter fraction along it. Partial volume counts in proportion;
where two banks of a sulcus touch, the gradient turns round and the line ends. The mean over the surface is
V / sum(dV / T): area times mean thickness is the volume.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from ..phantom import Phantom, PhantomError
from .head import bounding_box

LONGEST = 8e-3
"""Lines are not followed beyond this on either side [m]."""
STEP = 0.3
"""Step along a line, in voxels."""
INNER = ("wm", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala")
"""Tissues that bound grey matter from inside."""


def cortical_thickness(phantom: Phantom, tissue: str = "gm") -> NDArray[np.float32]:
    """Return the thickness [m] of a ribbon, 0 where it fills less than half of a voxel.

    Parameters
    ----------
    phantom : Phantom
        On an isotropic grid. Cubes of 1 mm or less resolve a cortex; larger ones do not.
    tissue : str
        The ribbon; it lies between other brain tissue and fluid.

    Returns
    -------
    ndarray, float32, shape (x, y, z)
    """
    size = np.asarray(phantom.voxel_size)
    if np.ptp(size) > 1e-3 * size.min():
        raise PhantomError(f"thickness needs cubic voxels; got {phantom.voxel_size} m.")
    ribbon = phantom.fraction(tissue)
    inner = [t for t in INNER if t in phantom.tissues]
    return ribbon_thickness(ribbon, phantom.fraction(*inner), float(size[0]))


def ribbon_thickness(
    ribbon: NDArray[np.float32], inside: NDArray[np.float32], spacing: float
) -> NDArray[np.float32]:
    """Return the thickness [m] of a layer around a body, both given as fractions on a cubic grid."""
    out = np.zeros(ribbon.shape, np.float32)
    box = tuple(
        slice(max(s.start - 3, 0), min(s.stop + 3, n))
        for s, n in zip(bounding_box(ribbon), ribbon.shape, strict=True)
    )
    core = inside[box] >= 0.5
    # Inside the body the distance only has to fall; two voxels of depth serve the lines that end there.
    far = ndimage.distance_transform_edt(~core).astype(np.float32)
    depth = core.astype(np.float32)
    for _ in range(2):
        core = ndimage.binary_erosion(core)
        depth += core
    # Smoothed, so that its gradient is steady.
    distance = ndimage.gaussian_filter(far - depth, 1.0)
    normal = np.stack(np.gradient(distance), axis=-1)
    normal /= np.maximum(np.sqrt((normal**2).sum(axis=-1, keepdims=True)), 1e-6)
    part = np.zeros(distance.shape, np.float32)
    _follow(np.ascontiguousarray(ribbon[box], np.float32), normal, LONGEST / spacing, part)
    out[box] = part * np.float32(spacing)
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _follow(
    ribbon: NDArray[np.float32], normal: NDArray[np.float32], longest: float, out: NDArray[np.float32]
) -> None:
    nx, ny, nz = ribbon.shape
    for i in range(1, nx - 2):
        for j in range(1, ny - 2):
            for k in range(1, nz - 2):
                if ribbon[i, j, k] < 0.5:
                    continue
                total = 0.0
                for way in (-1.0, 1.0):
                    total += _length(ribbon, normal, i, j, k, way, longest)
                out[i, j, k] = total


@njit(cache=True)  # type: ignore[untyped-decorator]
def _length(
    ribbon: NDArray[np.float32], normal: NDArray[np.float32], i: int, j: int, k: int, way: float,
    longest: float,
) -> float:  # fmt: skip
    """Integrate the fraction from a voxel's centre along the line one way, by midpoints."""
    nx, ny, nz = ribbon.shape
    x, y, z = float(i), float(j), float(k)
    gx, gy, gz = way * normal[i, j, k, 0], way * normal[i, j, k, 1], way * normal[i, j, k, 2]
    total = 0.0
    gone = 0.0
    while gone < longest:
        px, py, pz = x + 0.5 * STEP * gx, y + 0.5 * STEP * gy, z + 0.5 * STEP * gz
        if min(px, py, pz) < 0 or px >= nx - 1 or py >= ny - 1 or pz >= nz - 1:
            break
        a, b, c = int(px), int(py), int(pz)
        fx, fy, fz = px - a, py - b, pz - c
        value = 0.0
        hx, hy, hz = 0.0, 0.0, 0.0
        for m in range(8):
            da, db, dc = m >> 2, (m >> 1) & 1, m & 1
            w = (fx if da else 1 - fx) * (fy if db else 1 - fy) * (fz if dc else 1 - fz)
            value += w * ribbon[a + da, b + db, c + dc]
            hx += w * normal[a + da, b + db, c + dc, 0]
            hy += w * normal[a + da, b + db, c + dc, 1]
            hz += w * normal[a + da, b + db, c + dc, 2]
        if value < 0.02:
            break
        # Where the normals of two banks meet, they cancel or turn round.
        if way * (hx * gx + hy * gy + hz * gz) < 0.2:
            break
        total += value * STEP
        gone += STEP
        x, y, z = x + STEP * gx, y + STEP * gy, z + STEP * gz
        norm = max((hx * hx + hy * hy + hz * hz) ** 0.5, 1e-9)
        gx, gy, gz = way * hx / norm, way * hy / norm, way * hz / norm
    return total


def mean_thickness(thickness: NDArray[np.float32], ribbon: NDArray[np.float32]) -> float:
    """Return the mean over the surface [m]: V / sum(dV / T) over the voxels with a thickness."""
    inside = thickness > 0
    if not inside.any():
        raise PhantomError("thickness must be known somewhere; got a map of zeros.")
    volume = ribbon[inside].astype(np.float64)
    return float(volume.sum() / (volume / thickness[inside]).sum())
