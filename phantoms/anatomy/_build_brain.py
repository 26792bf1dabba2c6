"""Brain part of the head builds: sharpened classes, ventricles, cerebellum and brainstem.

All lengths are template millimetres; grids are 1 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._shapes import Array, Grid, soft, tube

T1_CSF, T1_WM = 65.0, 205.0
"""Intensities of fluid and white matter in the template's T1 image (uint8 scale)."""


@dataclass(frozen=True, kw_only=True)
class Template(Grid):
    """Template maps on a 1 mm grid: probabilities 0..1, T1 in 0..255, brain mask."""

    gm: Array
    wm: Array
    t1: Array
    mask: NDArray[np.bool_]


def at_volume(score: Array, allowed: Array, volume: float) -> Array:
    """Threshold a score [mm] so that the allowed soft region has the requested volume [mm^3]."""
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if float((soft(score - middle, 1.5) * allowed).sum(dtype=np.float64)) < volume:
            low = middle
        else:
            high = middle
    return np.asarray(soft(score - high, 1.5) * allowed, np.float32)


def brainstem(t: Template) -> Array:
    """Brainstem fraction: an elliptic section per axial plane, without the fluid around it."""
    z = [-75.0, -62, -54, -46, -38, -28, -18, -10, -4]
    cy = np.interp(t.z, z, [-49, -46, -42, -37, -30, -27, -27, -26, -24])
    rx = np.interp(t.z, z, [7, 7.5, 10, 13, 18, 20, 18, 16, 13])
    ry = np.interp(t.z, z, [6.5, 7, 8, 10, 13, 15, 13, 10.5, 8])
    d = np.sqrt((t.x / rx) ** 2 + ((t.y - cy) / ry) ** 2)
    score = np.maximum((d - 1.0) * np.minimum(rx, ry), t.z + 5.0)
    fluid = np.clip((150.0 - t.t1) / (150.0 - T1_CSF), 0.0, 1.0)
    return np.asarray(soft(score, 1.5) * t.mask * (1.0 - fluid), np.float32)


def cerebellum_zone(t: Template) -> NDArray[np.bool_]:
    """Voxels on the cerebellum's side of the tentorium: watershed of the T1 image between markers."""
    ax = np.abs(t.x)
    markers = np.zeros(t.x.shape, np.int16)
    low = t.mask & (t.z < -34) & (t.y < -45) & (t.t1 > 150)
    vermis = t.mask & (ax < 9) & (t.y < -52) & (t.y > -70) & (t.z < -16)
    lobe = t.mask & (ax > 8) & (ax < 30) & (t.y < -48) & (t.y > -68) & (t.z < -25)
    markers[low | vermis | lobe] = 2
    up = (t.z > 6) | (t.y > -22) | ((t.y < -85) & (t.z > -12)) | ((ax > 40) & (t.z > -10))
    temporal = (ax > 33) & (t.y > -32) & (t.z > -40)
    markers[(up | temporal) & t.mask & (t.t1 > 150)] = 1
    markers[~t.mask] = 3
    cost = np.asarray(255 - t.t1, np.uint8)
    return np.asarray(ndimage.watershed_ift(cost, markers) == 2)


def ventricle_zone(t: Template, depth: Array) -> NDArray[np.bool_]:
    """Neighbourhood of the ventricles: deep fluid, without the cisterns."""
    ax = np.abs(t.x)
    fluid = (t.t1 < 150) & t.mask & (depth > 12)
    horns = tube(
        t,
        np.array(
            [(5, 32, 0, 8), (6, 20, 10, 12), (8, 5, 20, 12), (10, -12, 24, 12), (17, -30, 20, 13),
             (25, -42, 9, 13), (26, -55, 9, 10), (26, -72, 8, 6)], float,
        ),
    )  # fmt: skip
    temporal = tube(t, np.array([(27, -42, 4, 8), (35, -30, -10, 6), (33, -14, -20, 6)], float))
    cistern = ((ax < 12) & (t.y < -26) & (t.z < 19)) | ((ax < 13) & (t.y < -30) & (t.z < 16))
    cistern |= (ax < 4.5) & (t.y > 18)  # the fissure in front of the corpus callosum
    above = (ax < 5) & (t.z > 14 + 0.2 * (t.y + 20)) & (t.y < -18)  # pericallosal fluid behind the splenium
    third = (ax < 5) & (t.y > -30) & (t.y < 4) & (t.z > -12) & (t.z < 12)
    fourth = (ax < 14) & (t.y < -33) & (t.y > -58) & (t.z > -48) & (t.z < -20)
    aqueduct = (ax < 3) & (t.y < -28) & (t.y > -38) & (t.z > -22) & (t.z < -4)
    lateral = ((horns < 0) | (temporal < 0)) & ~cistern & ~above
    # Bits of sulci in reach of the guiding tubes are not connected to the ventricles and smaller.
    core = _large_parts(fluid & lateral & (horns < 0), 1500)
    core |= _large_parts(fluid & lateral & (temporal < 0) & (ax > 20), 100)
    core |= _large_parts(fluid & (third | fourth | aqueduct), 100)
    return np.asarray(ndimage.binary_dilation(core, iterations=2) & t.mask)


def _large_parts(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= smallest)[labels])


def sharpen(p: Array, room: Array, targets: NDArray[np.float64], power: float = 3.0) -> Array:
    """Class-weighted sharpening: w_k p_k^b / sum, with w solved so that volumes meet the targets.

    Parameters
    ----------
    p : ndarray, shape (class, n)
        Class probabilities.
    room : ndarray, shape (n,)
        Fraction of each voxel that may be filled.
    targets : ndarray, shape (class,)
        Requested volumes [mm^3]; they are rescaled to the room available.

    Returns
    -------
    ndarray, shape (class, n)
        Fractions that sum to `room`.
    """
    raised = np.asarray(p, np.float64) ** power
    targets = targets * (room.sum(dtype=np.float64) / targets.sum())
    w = np.ones(len(p))
    out = np.empty_like(raised)
    for _ in range(200):
        np.multiply(raised, w[:, None], out=out)
        out *= room / np.maximum(out.sum(axis=0), 1e-12)
        volumes = out.sum(axis=1)
        if np.abs(volumes / targets - 1.0).max() < 1e-6:
            break
        w *= (targets / volumes) ** 0.7
        w /= w[0]
    return np.asarray(out, np.float32)


def cerebellum(t: Template, room: Array, gm_volume: float, wm_volume: float) -> tuple[Array, Array, Array]:
    """Return (gm, wm, csf) of the cerebellum from the T1 image, which shows its white matter better."""
    csf = room * np.clip((150.0 - t.t1) / (150.0 - T1_CSF), 0.0, 1.0)
    wm = at_volume(
        np.asarray((190.0 - t.t1) / 6.0, np.float32), np.asarray(room - csf, np.float32), wm_volume
    )
    gm = room - csf - wm
    # Sulci between the folia are averaged away: the missing fluid is taken where the T1 image is darkest.
    excess = float(gm.sum(dtype=np.float64)) - gm_volume
    if excess > 0:
        fissures = at_volume(np.asarray((t.t1 - 150.0) / 6.0, np.float32), np.asarray(gm, np.float32), excess)
        gm, csf = gm - fissures, csf + fissures
    return np.asarray(gm, np.float32), np.asarray(wm, np.float32), np.asarray(csf, np.float32)


def ventricle_repair(t: Template, zone: NDArray[np.bool_], room: Array) -> tuple[Array, Array]:
    """Replace the false GM rim of the ventricles by a WM/CSF mix that keeps the T1 intensity."""
    csf = np.clip((T1_WM - 8.0 - t.t1) / (T1_WM - 8.0 - T1_CSF - 15.0), 0.0, 1.0)
    csf = np.asarray(csf * room * zone, np.float32)
    return csf, np.asarray(room * zone - csf, np.float32)
