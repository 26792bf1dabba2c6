"""Around the brain of the synthetic heads: intracranial rim, skull, fat, skin, neck, and air cavities.

Thicknesses follow the radial profile of a Colin27 head: CSF 2 mm, inner table 1.5, diploe 3, outer table 1.5,
fat 4.5, skin 2. Face, neck, eyes and cavities are simple bodies of our own choice; they give
the field maps and the images a plausible surrounding and carry no anatomical claim.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._shapes import Array, Filling, Grid, ellipsoid, smooth_union, soft, tube

RIM, INNER, DIPLOE, OUTER, FAT, SKIN = 2.0, 1.5, 3.0, 1.5, 4.5, 2.0
VARIATION = 0.25


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], length: float) -> Array:
    """Smooth random multiplier within 1 +- VARIATION."""
    step = 8
    coarse = rng.standard_normal(tuple(n // step + 2 for n in shape))
    coarse = ndimage.gaussian_filter(coarse, length / step, mode="wrap")
    field = ndimage.zoom(coarse / coarse.std(), step, order=3)[tuple(slice(0, n) for n in shape)]
    return np.asarray(1.0 + VARIATION * np.tanh(field / 1.5), np.float32)


def signed_distance(mask: NDArray[np.bool_], sigma: float = 0.0) -> Array:
    """Signed distance [voxel] to a mask's surface, negative inside, optionally smoothed."""
    d = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
    d = np.where(d > 0, d - 0.5, d + 0.5)
    return np.asarray(ndimage.gaussian_filter(d, sigma) if sigma else d, np.float32)


def intracranial_distance(mask: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Signed distance [mm] to the inner table of the skull around a brain mask of 1 mm voxels."""
    far = signed_distance(mask)
    closed = signed_distance(far < 7.0) < -7.0  # closing by a 7 mm ball
    d = signed_distance(np.asarray(closed | mask), sigma=2.0)
    return np.asarray(d - RIM * smooth_field(rng, mask.shape, 20.0), np.float32)


def head_distance(t: Grid, skull_outer: Array) -> Array:
    """Signed distance [mm] to the skin surface: calvarium, face and neck."""
    upper = skull_outer - FAT - SKIN
    neck = np.sqrt((t.x / 58.0) ** 2 + ((t.y + 32.0) / 60.0) ** 2)
    neck_d = np.maximum((neck - 1.0) * 58.0, t.z + 45.0)
    face = ellipsoid(t, (0, 28, -55), (62, 68, 72))
    nose = ellipsoid(t, (0, 96, -58), (15, 16, 24))
    lower = smooth_union(np.asarray(neck_d, np.float32), face, 20.0)
    lower = smooth_union(lower, nose, 12.0)
    return smooth_union(upper, lower, 15.0)


def air_cavities(t: Grid) -> Array:
    """Signed distance [mm] to nasal cavity, sinuses, ear canals, mastoid cells and pharynx."""
    parts = [
        ellipsoid(t, (0, 48, -52), (12, 30, 16)),  # nasal cavity and ethmoid
        ellipsoid(t, (6, 12, -42), (9, 10, 7)),  # sphenoid sinus
        ellipsoid(t, (10, 76, -30), (8, 6, 8)),  # frontal sinus
        ellipsoid(t, (30, 52, -62), (12, 15, 12)),  # maxillary sinus
        tube(t, np.array([(50, -22, -47, 3.0), (90, -24, -47, 3.5)])),  # ear canal
        ellipsoid(t, (56, -34, -52), (6, 9, 8)),  # mastoid cells
        tube(t, np.array([(0, 5, -62, 8.0), (0, 0, -130, 8.0)])),  # pharynx
    ]
    return np.asarray(np.minimum.reduce(parts), np.float32)


def shells(t: Grid, icv: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Return skull, marrow, fat, skin, muscle, spinal_cord and extracranial_fluid fractions.

    Parameters
    ----------
    t : Grid
        Coordinates.
    icv : ndarray
        Signed distance [mm] to the inner table.
    rng : Generator
        Source of the thickness variations.
    """

    def fill(distance: Array) -> Array:
        return soft(distance, t.width)

    vary = [smooth_field(rng, t.x.shape, 25.0 / t.width) for _ in range(3)]
    inner = INNER * vary[0]
    # The base of the skull and the temporal squama have no diploe worth speaking of.
    base = np.clip((t.z + 35.0) / 25.0, 0.0, 1.0)
    diploe = inner + DIPLOE * vary[1] * base
    outer = diploe + OUTER * vary[0]
    skull_outer = np.asarray(icv - outer, np.float32)
    head = head_distance(t, np.asarray(skull_outer + FAT * (1 - vary[2]), np.float32))

    cord_line = np.array([(0, -47, -68, 6.0), (0, -50, -85, 5.5), (0, -50, -140, 5.5)])
    cord = tube(t, cord_line)
    canal = cord - 3.5
    vertebra = np.minimum(canal - 4.0, tube(t, np.array([(0, -26, -88, 12.0), (0, -26, -140, 12.0)])))
    vertebra = np.maximum(vertebra, t.z + 80.0)
    jaw = np.maximum(ellipsoid(t, (0, 32, -92), (44, 40, 18)), -ellipsoid(t, (0, 26, -92), (35, 37, 28)))
    eyes = ellipsoid(t, (32, 66, -36), (12, 12, 12))

    layers = Filling(fill(head))
    take = layers.take

    layers.leave(fill(icv))
    # The cavities keep a thin plate of bone to the brain.
    layers.leave(fill(np.asarray(np.maximum(air_cavities(t), 2.0 - icv), np.float32)))
    below = soft(np.asarray(t.z + 66.0, np.float32), 4.0 * t.width)
    take("spinal_cord", fill(cord) * below)
    take("extracranial_fluid", fill(canal) * below)
    table = fill(np.asarray(icv - inner, np.float32)) + fill(skull_outer) * (
        1.0 - fill(np.asarray(icv - diploe, np.float32))
    )
    bone = fill(skull_outer)
    take("skull", np.asarray(np.clip(table, 0, 1) * bone, np.float32))
    take("marrow", bone)
    take("skin", np.asarray(1.0 - fill(head + SKIN), np.float32))
    take("extracranial_fluid", fill(eyes))
    for body in (np.asarray(vertebra, np.float32), np.asarray(jaw, np.float32)):
        take("skull", np.asarray(fill(body) * (1.0 - fill(body + 2.0)), np.float32))
        take("marrow", fill(body))
    deep = fill(head + SKIN + FAT * vary[2])
    orbit = fill(ellipsoid(t, (30, 58, -36), (19, 22, 18)))
    cheeks = fill(ellipsoid(t, (45, 45, -75), (14, 18, 18)))
    take("fat", np.asarray(np.maximum(np.maximum(1.0 - deep, orbit), cheeks), np.float32))
    take("muscle", layers.room.copy())
    return layers.parts
