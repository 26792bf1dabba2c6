"""The uniform image of MP2RAGE from its two inversion images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RawDataError
from .options import Image, ReconOptions
from .raw import RawData
from .reconstruct import reconstruct_volumes

__all__ = ["mp2rage_uniform", "reconstruct_mp2rage"]

Complex = NDArray[np.complexfloating]


def mp2rage_uniform(first: Complex, second: Complex, *, regularisation: float = 0.0) -> NDArray[np.float32]:
    """Uniform image Re(I1* I2) / (|I1|^2 + |I2|^2), between -1/2 and 1/2; 0 where there is no signal.

    Proton density, T2* and the receive profile drop out (Marques et al. 2010,
    doi:10.1016/j.neuroimage.2009.10.002).  With `regularisation` beta [signal^2] it is the robust
    combination (Re(I1* I2) - beta) / (|I1|^2 + |I2|^2 + 2 beta), which is -1/2 in the background instead of
    noise (O'Brien et al. 2014, doi:10.1371/journal.pone.0099676).

    Parameters
    ----------
    first, second
        Complex images at the two inversion times with common phases, any equal shape.

    Raises
    ------
    ValueError
        Shapes differ or beta is negative.
    """
    if first.shape != second.shape or not regularisation >= 0:
        raise ValueError(
            f"first and second must have one shape and regularisation be >= 0; got {first.shape}, "
            f"{second.shape}, {regularisation}. Take both images from one series."
        )
    a, b = np.asarray(first, np.complex128), np.asarray(second, np.complex128)
    product = (a.conj() * b).real - regularisation
    total = np.abs(a) ** 2 + np.abs(b) ** 2 + 2 * regularisation
    return np.asarray(np.where(total > 0, product / np.maximum(total, 1e-300), 0.0), np.float32)


def reconstruct_mp2rage(
    raw: RawData, options: ReconOptions | None = None, *, robust: float = 0.0
) -> dict[str, Image]:
    """Reconstruct ``inv1``, ``inv2`` (complex) and ``uni`` of a measurement with two inversion images.

    Parameters
    ----------
    raw
        Its contrasts (or sets) 0 and 1 are the inversion images.
    options
        Stages; sensitivities are shared and magnitudes and integers are not taken, whatever they say.
    robust
        Beta of the robust combination in units of the second image's mean square over its
        brightest tenth; 0 for the plain one.

    Raises
    ------
    RawDataError
        The measurement does not have two volumes.
    """
    options = replace(options or ReconOptions(), magnitude=False, bits=None, scaling="max", shared_maps=True)
    if options.combine == "rss":
        options = replace(options, combine="adaptive")  # magnitudes have lost the sign
    volumes = reconstruct_volumes(raw, options)
    if len(volumes) != 2:
        raise RawDataError(
            f"{raw.source}: MP2RAGE needs two inversion images; got {len(volumes)} volumes. Check contrasts."
        )
    first, second = volumes
    power = np.abs(second.data) ** 2
    bright = power[power >= np.quantile(power, 0.9)]
    beta = robust * float(bright.mean()) if robust else 0.0
    uniform = mp2rage_uniform(first.data, second.data, regularisation=beta)
    sidecar: dict[str, Any] = {
        k: v for k, v in second.meta["sidecar"].items() if k not in ("InversionTime", "FlipAngle")
    }
    sidecar["ImageType"] = ["DERIVED", "PRIMARY", "M", "UNI"]
    meta = {**second.meta, "sidecar": sidecar, "recipe": {**second.meta["recipe"], "mp2rage_beta": beta}}
    return {"inv1": first, "inv2": second, "uni": Image(data=uniform, affine=second.affine, meta=meta)}
