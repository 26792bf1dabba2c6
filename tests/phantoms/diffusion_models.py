"""Diffusion models on small grids, and b-tensors to look at them."""

import numpy as np

from phantoms import DiffusionModel, Phantom, ball, stick, zeppelin

D, DP = 1.7e-9, 0.4e-9


def unit(v):
    return np.asarray(v, float) / np.linalg.norm(v, axis=-1, keepdims=True)


def linear(b, directions):
    g = unit(directions)
    return b * g[..., :, None] * g[..., None, :]


def sphere(n):
    """Fibonacci points (n, 3), near to a uniform distribution."""
    i = np.arange(n) + 0.5
    z, phi = 1.0 - 2.0 * i / n, np.pi * (1.0 + 5.0**0.5) * i
    r = np.sqrt(1.0 - z**2)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def crossing(rng=None, shape=(3, 4, 2), compartments=None):
    """Model of two populations with random directions on a small skewed grid."""
    rng = rng or np.random.default_rng(3)
    weights = rng.uniform(0.2, 0.5, (2, *shape))
    affine = np.array([[2e-3, 1e-4, 0, -4e-3], [0, 3e-3, 2e-4, 1e-3], [0, 0, 4e-3, 5e-3], [0, 0, 0, 1]])
    default = (
        stick(fraction=0.5, diffusivity=D),
        zeppelin(fraction=0.3, d_parallel=D, d_perpendicular=DP),
        ball(fraction=0.2, diffusivity=3e-9),
    )
    return DiffusionModel(
        tissues={"wm": compartments or default},
        directions=unit(rng.normal(size=(2, *shape, 3))), weights=weights, affine=affine,
    )  # fmt: skip


def phantom(model=None, shape=(3, 4, 2)):
    f = np.zeros((2, *shape), np.float32)
    f[0], f[1] = 0.6, 0.3
    return Phantom(
        name="p", tissues=("wm", "gm"), fractions=f, affine=np.diag([2e-3, 3e-3, 4e-3, 1]), diffusion=model
    )
