"""From a subject's description to its anatomy: one diffeomorphism that meets the prescribed volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .deformation import exponential, jacobian, lowest_jacobian, random_velocity
from .head import icbm152_head, intracranial_volume, region_labels, region_volumes
from .laws import LAWS
from .people import Subject
from .phantom import Phantom, PhantomError
from .template import SPACING, Template, Warped, prepared, warp
from .volume_fit import VolumeFit

ROUNDS = 3
ITERATIONS = 8
PROBES = ((3.2e-3, 5e-3), (2.2e-3, 1e-2))
"""Voxel size [m] at which achieved volumes are measured, and largest log ratio that is left uncorrected."""
CORRECTIONS = 4
"""Most measurements per probe."""


def make_subject(
    subject: Subject,
    head: Phantom | None = None,
    *,
    voxel_size: float | tuple[float, float, float] | None = None,
) -> Phantom:
    """Return the phantom of a subject.

    One velocity field, the sum of a smooth random field and of an irrotational field whose divergence is
    iterated until the regional volumes are met, is exponentiated (so the deformation cannot fold), combined
    with the linear scale of the intracranial volume, and applied to the head's fractions.

    Parameters
    ----------
    subject : Subject
        From `sample_cohort`.
    head : Phantom, optional
        Head with the tissues of `icbm152_head`; default: that head on its own 0.9 mm grid (sharpest).
    voxel_size : float or tuple of float, optional
        Voxel size of the result [m]; default: the head's.

    Returns
    -------
    Phantom
        Fractions in steps of 1/255, labels, and in `truth`: age, sex, icv_ml, volumes_ml (achieved, as
        counted in the returned fractions), target_ml, expected_ml (the planted law), deformation statistics
        and tissue scales.
    """
    template = prepared(icbm152_head(None) if head is None else head, tuple(LAWS))
    size = np.broadcast_to(np.asarray(template.frame[1] if voxel_size is None else voxel_size, float), 3)
    if not (np.isfinite(size).all() and (size >= 2e-4).all() and (size <= 2e-2).all()):
        raise PhantomError(f"voxel_size must be in metres, 0.2 mm to 20 mm; got {voxel_size}. 1 mm is 1e-3.")
    scale = (subject.icv / template.total) ** (1.0 / 3.0)
    fit = _fitted(subject, template, scale)
    sub = max(1, round(float(size.max() / template.frame[1].min() / scale)))
    warped = warp(template, fit.inverse(), scale, size, sub)
    volumes = _volumes(template, warped)
    truth = _truth(subject, fit, volumes, scale)
    if "notice" in template.head.truth:
        truth["notice"] = template.head.truth["notice"]
    head = template.head
    return Phantom(
        name=subject.id,
        tissues=head.tissues,
        fractions=warped.fractions,
        affine=warped.affine,
        table=head.table,
        scale={k: dict(v) for k, v in subject.scale.items() if k in head.tissues},
        labels=region_labels(warped.fractions, head.tissues, warped.left),
        regions=dict(head.regions),
        truth=truth,
        chi_outside=head.chi_outside,
    )


def _fitted(subject: Subject, template: Template, scale: float) -> VolumeFit:
    """Return the fit, corrected by measurements of the warped head until the volumes agree."""
    wild = random_velocity(template.grid, subject.rng(1), sigma=subject.shape_sigma / scale)
    fit = VolumeFit(template, wild, {r: v / scale**3 for r, v in subject.volumes.items()})
    for _ in range(ROUNDS):
        fit.iterate(ITERATIONS)
        fit.follow()
    fit.iterate(ITERATIONS)
    for probe, tolerance in PROBES:
        for _ in range(CORRECTIONS):
            volumes = _volumes(template, warp(template, fit.inverse(), scale, np.full(3, probe), 2))
            ratio = {r: v * 1e6 / volumes[r] for r, v in subject.volumes.items()}
            missed = fit.retarget(ratio, subject.icv * 1e6 / intracranial_volume(volumes))
            fit.iterate(ITERATIONS)
            if missed < tolerance:
                break
    return fit


def _volumes(template: Template, warped: Warped) -> dict[str, float]:
    return region_volumes(warped.fractions, template.head.tissues, warped.left, warped.affine)


def _truth(subject: Subject, fit: VolumeFit, volumes: dict[str, float], scale: float) -> dict[str, Any]:
    return {
        "id": subject.id,
        "index": subject.index,
        "seed": subject.seed,
        "age": subject.age,
        "sex": subject.sex,
        "icv_ml": intracranial_volume(volumes),
        "icv_target_ml": subject.icv * 1e6,
        "volumes_ml": volumes,
        "target_ml": {r: v * 1e6 for r, v in subject.volumes.items()},
        "expected_ml": {r: v * 1e6 for r, v in subject.expected.items()},
        "tissue_scale": subject.scale,
        "deformation": _deformation(subject.id, fit, scale),
    }


def _deformation(name: str, fit: VolumeFit, scale: float) -> dict[str, float]:
    """Return statistics of the map; refuse one that folds."""
    u = exponential(fit.velocity, SPACING)
    lowest = min(lowest_jacobian(u, SPACING), lowest_jacobian(fit.inverse(), SPACING))
    if not lowest > 0:
        raise PhantomError(
            f"the deformation of {name} must not fold; got a Jacobian of {lowest:.3f}. "
            "Its volumes are too far from the head's: narrow the cohort's spreads or ages."
        )
    j: NDArray[np.float32] = jacobian(u, SPACING)[fit.window > 0]
    length = np.sqrt((u**2).sum(axis=0))[fit.window > 0] * scale
    return {
        "linear_scale": scale,
        "jacobian_min": lowest,
        "jacobian_max": float(j.max()),
        "jacobian_log_sd": float(np.log(np.maximum(j, 1e-6)).std()),
        "displacement_mean_mm": float(length.mean() * 1e3),
        "displacement_max_mm": float(length.max() * 1e3),
    }
