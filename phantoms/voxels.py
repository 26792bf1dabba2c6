"""Point clouds of gridded phantoms."""

from __future__ import annotations

import numpy as np

from .cloud import PointCloud
from .phantom import Phantom, PhantomError

GAMMA_BAR = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi [Hz/T] (CODATA 2018)."""


def cloud_from_phantom(phantom: Phantom, b0: float) -> PointCloud:
    """Return the phantom as one point per voxel and tissue with a fraction above zero.

    m0 = fraction times proton density; relaxation, diffusion and chemical shift of the tissue at the field
    strength (df = shift_ppm 1e-6 gamma-bar B0). Susceptibility fields are not computed here: add them to `df`
    at the voxels named by `index`. A diffusion model is not carried over: points diffuse isotropically.

    Parameters
    ----------
    phantom : Phantom
        The object.
    b0 : float
        Field strength [T].

    Returns
    -------
    PointCloud
        Points sorted by tissue, then by voxel; `index` is the flat (C order) voxel number, `signal_scale` the
        voxel volume [m^3], so that the signal is the integral of m0 over space.

    Raises
    ------
    PhantomError
        If the field strength is not positive or the phantom is empty.
    """
    if not 0 < b0 < np.inf:
        raise PhantomError(f"b0 must be positive; got {b0} T.")
    flat = phantom.fractions.reshape(len(phantom.tissues), -1)
    where = [np.flatnonzero(f) for f in flat]
    counts = [w.size for w in where]
    if not sum(counts):
        raise PhantomError(f"phantom {phantom.name!r} must have tissue; all its fractions are 0.")
    properties = phantom.properties(b0)

    def spread(key: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.repeat(np.array([getattr(p, key) for p in properties], np.float64), counts)

    index = np.concatenate(where)
    fraction = np.concatenate([f[w] for f, w in zip(flat, where, strict=True)]).astype(np.float64)
    if phantom.texture is not None:
        fraction *= phantom.texture.reshape(-1)[index]
    places = np.stack(np.unravel_index(index, phantom.shape), axis=-1)
    voxel = phantom.affine[:3, :3]
    return PointCloud(
        name=phantom.name,
        position=places @ voxel.T + phantom.affine[:3, 3],
        m0=fraction * spread("pd"),
        t1=spread("t1"),
        t2=spread("t2"),
        t2_prime=spread("t2_prime"),
        df=spread("shift_ppm") * 1e-6 * GAMMA_BAR * b0,
        adc=spread("adc"),
        voxel=voxel,
        signal_scale=phantom.voxel_volume,
        index=index,
        source={
            "format": "mrsim-phantom",
            "shape": list(phantom.shape),
            "tissues": dict(zip(phantom.tissues, counts, strict=True)),
        },
        b0=float(b0),
    )
