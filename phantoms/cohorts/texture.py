"""Fine multiplicative texture of proton density, fixed to a person's anatomy.

White noise in the template, smoothed to structures of about 2 mm, is carried through the deformation: the
same person has the same texture at every visit and on every scanner, moved with the tissue.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .deformation import Field, Grid
from .template import Template, frame_of
from .warping import sample_through

NODES = 1e-3
"""Distance of the noise's nodes [m]."""
SMOOTH = 0.8e-3
"""Width (SD) of its smoothing [m]."""
_KEPT = (2 / 3 + math.exp(-((NODES / SMOOTH) ** 2) / 4) / 3) ** 1.5
"""Standard deviation that trilinear interpolation leaves of smoothed noise, mean over positions."""
LIMIT = 4.0
"""Largest deviation, in standard deviations."""


def make_texture(
    template: Template,
    u: Field,
    scale: float,
    affine: NDArray[np.float64],
    shape: tuple[int, ...],
    sigma: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return 1 + sigma n(x) on a subject's grid, 1 outside the head's velocity grid.

    Parameters
    ----------
    template : Template
        The head.
    u : ndarray (3, a, b, c)
        Displacement [m] of the subject -> template map.
    scale : float
        Linear size of the subject relative to the template.
    affine, shape : ndarray (4, 4), tuple of int
        The subject's grid.
    sigma : float
        Relative standard deviation.
    rng : Generator
        The subject's stream.

    Returns
    -------
    ndarray, float32, `shape`
    """
    grid = template.grid
    count = [int((n - 1) * grid.spacing / NODES) + 1 for n in grid.shape]
    noise = ndimage.gaussian_filter(rng.standard_normal(count, dtype=np.float32), SMOOTH / NODES, mode="wrap")
    noise = np.clip(noise / (noise.std() * np.float32(_KEPT)), -LIMIT, LIMIT)
    fine = Grid(origin=grid.origin, spacing=NODES, shape=(count[0], count[1], count[2]))
    size = np.diag(affine)[:3] / scale
    target = np.stack([affine[:3, 3] / scale, size, 1.0 / size])
    out = np.zeros(shape, np.float32)
    moved = np.ascontiguousarray(np.moveaxis(u, 0, -1))
    sample_through(noise, frame_of(fine), moved, frame_of(grid), target, out)
    return np.asarray(1.0 + np.float32(sigma) * out, np.float32)
