"""A synthetic brain of ellipsoids with partial volume, known volumes and a folded grey-white border."""

from dataclasses import dataclass

import numpy as np

VOXEL = (2e-3, 2e-3, 2e-3)
TISSUES = ("csf", "gm", "wm")


@dataclass(frozen=True)
class Brain:
    fractions: np.ndarray
    mask: np.ndarray
    volumes: dict

    def image(self, means, *, noise=0.0, rng=None, bias=None, blur=0.0):
        from scipy.ndimage import gaussian_filter

        clean = np.tensordot(np.asarray(means, dtype=float), self.fractions, 1)
        if blur:
            clean = gaussian_filter(clean, blur)
        if bias is not None:
            clean = clean * bias
        return clean + (rng.normal(0.0, noise, clean.shape) if noise else 0.0)


def make_brain(shape=(50, 60, 44), size=1.0, ventricle=1.0, sub=2):
    """Half-size head on an asymmetric grid of 2 mm voxels; `sub`^3 points per voxel give the fractions."""
    axes = [((np.arange(n * sub) + 0.5) / sub - n / 2) * 2.0 for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)

    def ellipsoid(a, b, c, k=1.0):
        return (x / (a * k)) ** 2 + (y / (b * k)) ** 2 + (z / (c * k)) ** 2 <= 1.0

    def coarse(inside):
        blocks = inside.astype(np.float32).reshape(shape[0], sub, shape[1], sub, shape[2], sub)
        return blocks.mean(axis=(1, 3, 5))

    radius = np.sqrt((x / 38) ** 2 + (y / 48) ** 2 + (z / 34) ** 2)
    radius = radius * (1.0 + 0.05 * np.sin(x / 4) * np.sin(y / 5) * np.cos(z / 4.5)) / size
    outer, pial, white = ellipsoid(43, 53, 39, size), radius <= 1.0, radius <= 0.88
    ventricles = ellipsoid(8, 15, 7, ventricle)
    whole, p, w, v = map(coarse, (outer | pial, pial, white & ~ventricles, ventricles))
    fractions = np.stack([whole - p + v, p - w - v, w])
    # Rim voxels shared with air would look like other tissues: they stay out, as an eroded mask keeps them
    # out.
    mask = whole > 0.999
    volumes = {
        t: float(f[mask].sum()) * 8e-3 for t, f in zip(TISSUES, fractions.astype(np.float64), strict=True)
    }
    return Brain(fractions, mask, volumes)


def bias_field(shape, strength=0.25):
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return np.exp(strength * (x - 0.6 * y**2 + 0.4 * z * x))
