"""White-matter hyperintensities of prescribed volume, painted as a tissue of their own.

Lesions are blobs with power-law volumes, 70 % of them (by chance) within 10 mm of the ventricles and the rest
deep; they replace white matter only. Places and shapes are drawn in the template, so that the same person's
lesions are found again at every visit and at every voxel size; a growing load adds new ones. The soft mask is
the fraction map of the tissue ``wmh``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..tissues import TissueTable
from .deformation import Field
from .template import Template

TISSUE = "wmh"
HOST = "wm"
CONTRAST = {"t1": 1.35, "t2": 1.5, "t2_prime": 1.5, "pd": 1.08, "adc": 1.4}
"""Lesion relative to white matter: modelling choices; higher water content and lower MT are published."""
SEMISOLID = 0.6
"""Semisolid pool of a lesion relative to that of white matter (a modelling choice)."""
PERIVENTRICULAR_SHARE = 0.7
PERIVENTRICULAR_REACH = 10e-3
SMALLEST, LARGEST = 3e-9, 3e-6
"""Bounds of single lesions [m^3]."""
EXPONENT = 1.5
"""Of the density of lesion volumes, v^-EXPONENT (a modelling choice)."""
MOST = 400
_EDGE = 0.6e-3
"""Half-width of the soft rim [m]."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One blob: centre in the template [m], nominal volume [m^3], shape and whether it is near ventricles.

    The shape (3, 3), of determinant 1, maps offsets from the centre to those of a sphere.
    """

    center: tuple[float, float, float]
    volume: float
    shape: NDArray[np.float64]
    periventricular: bool


def draw_lesions(template: Template, volume: float, rng: np.random.Generator) -> list[Lesion]:
    """Draw blobs whose nominal volumes add up to a volume.

    Parameters
    ----------
    template : Template
        Gives white matter and the distance to the ventricles.
    volume : float
        Total [m^3]; below `SMALLEST` there are none.
    rng : Generator
        The subject's stream; more volume adds blobs to the same first ones.

    Returns
    -------
    list of Lesion
        At most `MOST`.
    """
    if volume < SMALLEST:
        return []
    white, spacing = template.regions["cerebral_wm"], template.grid.spacing
    distance = ndimage.distance_transform_edt(template.regions["ventricles"] < 0.5) * spacing
    pure = white > 0.9
    near = pure & (distance < PERIVENTRICULAR_REACH)
    deep = pure & (distance >= PERIVENTRICULAR_REACH)
    places = {True: np.argwhere(near), False: np.argwhere(deep)}
    out: list[Lesion] = []
    left = volume
    while left > SMALLEST and len(out) < MOST:
        own = min(_size(rng.random()), left)
        close = bool(rng.random() < PERIVENTRICULAR_SHARE)
        node = places[close][int(rng.integers(len(places[close])))]
        center = np.asarray(template.grid.origin) + (node + rng.uniform(-0.5, 0.5, 3)) * spacing
        out.append(
            Lesion(
                center=(float(center[0]), float(center[1]), float(center[2])),
                volume=own,
                shape=_shape(rng),
                periventricular=close,
            )
        )
        left -= own
    return out


def _size(uniform: float) -> float:
    """Return the quantile of the truncated power law."""
    a = 1.0 - EXPONENT
    low, high = SMALLEST**a, LARGEST**a
    return float((low + uniform * (high - low)) ** (1.0 / a))


def _shape(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random rotation times a stretch of determinant 1."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    stretch = np.exp(0.35 * rng.standard_normal(3))
    return np.asarray(np.diag(stretch / np.prod(stretch) ** (1 / 3)) @ (q * np.sign(np.diag(r))).T)


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """Fractions with lesions (tissue, x, y, z), and what is known of them (JSON-able)."""

    fractions: NDArray[np.float32]
    truth: dict[str, Any]


def paint_lesions(
    fractions: NDArray[np.float32], affine: NDArray[np.float64], host: int, lesions: list[Lesion],
    centers: NDArray[np.float64], volume: float,
) -> Painted:  # fmt: skip
    """Move white matter into lesions until they hold the prescribed volume.

    Parameters
    ----------
    fractions : ndarray (tissue, x, y, z)
        Of the subject, in steps of 1/255.
    affine : ndarray (4, 4)
        Voxel index -> world [m].
    host : int
        Which tissue is white matter.
    lesions : list of Lesion
        What to paint.
    centers : ndarray (n, 3)
        Their centres in the subject [m].
    volume : float
        Wanted [m^3].

    Returns
    -------
    Painted
        One more tissue than before, the last. Where white matter cannot take the volume, the achieved one is
        smaller; `truth` tells it, the number of blobs and of connected components, and every blob.
    """
    unit = abs(float(np.linalg.det(affine[:3, :3])))
    white = fractions[host]
    low, high = -3.0, 3.0  # log growth of all blobs
    shares = np.zeros(white.shape, np.float32)
    for _ in range(18):
        growth = 0.5 * (low + high)
        shares = _rendered(white.shape, affine, lesions, centers, growth)
        got = float((shares * white).sum(dtype=np.float64)) * unit
        if abs(got - volume) < 1e-3 * volume:
            break
        low, high = (growth, high) if got < volume else (low, growth)
    codes = np.rint(white * shares * np.float32(255.0))
    mask = (codes / np.float32(255.0)).astype(np.float32)
    rest = (np.rint(white * np.float32(255.0)) - codes) / np.float32(255.0)
    out = np.concatenate([fractions, mask[None]])
    out[host] = rest
    _, count = ndimage.label(mask >= 0.5)
    return Painted(
        fractions=out,
        truth={
            "volume_ml": float(mask.sum(dtype=np.float64)) * unit * 1e6,
            "target_ml": volume * 1e6,
            "count": len(lesions),
            "components": int(count),
            "growth": math.exp(growth),
            "list": [
                {
                    "center_mm": (c * 1e3).round(2).tolist(),
                    "volume_ml": lesion.volume * math.exp(growth) * 1e6,
                    "type": "periventricular" if lesion.periventricular else "deep",
                }
                for lesion, c in zip(lesions, centers, strict=True)
            ],
        },
    )


def _rendered(
    shape: tuple[int, ...], affine: NDArray[np.float64], lesions: list[Lesion],
    centers: NDArray[np.float64], growth: float,
) -> NDArray[np.float32]:  # fmt: skip
    """Return soft ellipsoids 0..1; where they overlap, the larger share."""
    out = np.zeros(shape, np.float32)
    size = np.diag(affine)[:3]
    edge = max(_EDGE, 0.5 * float(size.max()))
    for lesion, center in zip(lesions, centers, strict=True):
        radius = (0.75 / math.pi * lesion.volume * math.exp(growth)) ** (1 / 3)
        reach = 3.0 * radius + edge
        first = np.maximum(np.floor((center - reach - affine[:3, 3]) / size).astype(int), 0)
        last = np.minimum(np.ceil((center + reach - affine[:3, 3]) / size).astype(int) + 1, shape)
        if (last <= first).any():
            continue
        box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        axes = [affine[a, 3] + size[a] * np.arange(first[a], last[a]) - center[a] for a in range(3)]
        offset = np.stack(np.meshgrid(*axes, indexing="ij"))
        r = np.sqrt((np.einsum("ab,bxyz->axyz", lesion.shape, offset) ** 2).sum(axis=0))
        share = np.clip(0.5 + (radius - r) / (2.0 * edge), 0.0, 1.0).astype(np.float32)
        np.maximum(out[box], share, out=out[box])
    return out


def moved(template: Template, points: NDArray[np.float64], u: Field, scale: float) -> NDArray[np.float64]:
    """Return points (n, 3) of the template [m] in the subject: (x + u(x)) scale, u template -> subject."""
    index = ((points - template.grid.origin) / template.grid.spacing).T
    shift = np.stack([ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in u], axis=1)
    return np.asarray((points + shift) * scale)


def lesion_table(table: TissueTable, contrast: float) -> TissueTable:
    """Return a table that also has the lesions: white matter times `CONTRAST` to the power of `contrast`."""
    host = table.curves[HOST]
    factor = {k: v**contrast for k, v in CONTRAST.items()}
    note = "modelling choice: white matter times " + ", ".join(f"{k} {v:.3g}" for k, v in factor.items())
    changes: dict[str, Any] = {
        **{k: tuple(v * factor[k] for v in getattr(host, k)) for k in ("t1", "t2", "t2_prime")},
        **{k: getattr(host, k) * factor[k] for k in ("pd", "adc")},
        "sources": {k: f"{note}; {text}" for k, text in host.sources.items()},
        "verified": tuple(False for _ in host.b0),
        "flags": {k: tuple(False for _ in v) for k, v in host.flags.items()},
    }
    if host.semisolid is not None:
        ratio = host.semisolid.ratio * SEMISOLID**contrast
        changes["semisolid"] = replace(host.semisolid, ratio=ratio, source=note, verified=False)
    curve = replace(host, name=TISSUE, **changes)
    return TissueTable(curves={**table.curves, TISSUE: curve})
