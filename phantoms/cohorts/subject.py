"""From a subject's description to its anatomy: one diffeomorphism that meets the prescribed volumes."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..anatomy.head import intracranial_volume, region_labels, region_volumes
from ..anatomy.thickness import INNER, mean_thickness, ribbon_thickness
from ..phantom import Phantom, PhantomError
from .deformation import Field, exponential, jacobian, lowest_jacobian, random_velocity
from .diffeomorphism import Diffeomorphism
from .fibre_transport import subject_diffusion
from .laws import LAWS
from .lesions import HOST, TISSUE, draw_lesions, lesion_table, moved, paint_lesions
from .people import Subject
from .template import Template, Warped, prepared, warp
from .texture import make_texture
from .volume_fit import VolumeFit

ROUNDS = 3
ITERATIONS = 8
PROBES = ((3.2e-3, 5e-3), (2.2e-3, 1e-2))
"""Voxel size [m] at which achieved volumes are measured, and the largest log ratio after whose correction no
further measurement follows."""
CORRECTIONS = 4
"""Most measurements per probe."""
THICKNESS_EXPONENT = 0.39
"""Of the relative cortical volume in the relative thickness: what the deformation gives (measured at 1 mm
on 20 subjects, 22 to 88 y, half of them patients; the rest of the volume goes into area)."""
RIBBON_VOXEL = 1.25e-3
"""Voxel at which thickness is measured [m], whatever grid is asked for: one person has one thickness."""


def make_subject(
    subject: Subject,
    head: Phantom | None = None,
    *,
    voxel_size: float | tuple[float, float, float] | None = None,
    fibres: bool = False,
    keep_transform: bool = False,
) -> Phantom:
    """Return the phantom of a subject.

    One velocity field, the sum of a smooth random field and of an irrotational field whose divergence is
    iterated until the regional volumes are met, is exponentiated (so the deformation cannot fold), combined
    with the linear scale of the intracranial volume, and applied to the head's fractions. White-matter
    lesions are painted and the texture is laid on afterwards.

    Parameters
    ----------
    subject : Subject
        From `sample_cohort`.
    head : Phantom, optional
        Head with the tissues of `icbm152_head`; default: that head on its own 0.9 mm grid (sharpest).
    voxel_size : float or tuple of float, optional
        Voxel size of the result [m]; default: the head's.
    fibres : bool
        Whether the head's fibres (`head_diffusion`) are carried along.
    keep_transform : bool
        Whether the map from the head to the subject is kept (4 MB).

    Returns
    -------
    Phantom
        Fractions in steps of 1/255, labels, and in `truth`: age, sex, diagnosis, icv_ml, volumes_ml
        (achieved, as counted in the returned fractions; lesions belong to the white matter), target_ml,
        expected_ml (the planted law), thickness, lesions, texture_sd, deformation statistics and tissue
        scales.
    """
    # BLAS splits its sums among threads: with their number the last bits would change.
    with threadpool_limits(limits=1, user_api="blas"):
        return _made(subject, head, voxel_size, fibres, keep_transform)


def _made(
    subject: Subject,
    head: Phantom | None,
    voxel_size: float | tuple[float, float, float] | None,
    fibres: bool,
    keep_transform: bool,
) -> Phantom:
    template = prepared(head, tuple(LAWS))
    size = np.broadcast_to(np.asarray(template.frame[1] if voxel_size is None else voxel_size, float), 3)
    if not (np.isfinite(size).all() and (size >= 2e-4).all() and (size <= 2e-2).all()):
        raise PhantomError(f"voxel_size must be in metres, 0.2 mm to 20 mm; got {voxel_size}. 1 mm is 1e-3.")
    scale = (subject.icv / template.total) ** (1.0 / 3.0)
    fit = _fitted(subject, template, scale)
    back = fit.inverse()
    # Its kernels leave the interpreter free, so a second core measures while the first makes the maps.
    with ThreadPoolExecutor(max_workers=1) as beside:
        ribbon = beside.submit(_ribbon_thickness, template, back, scale)
        sub = max(1, round(float(size.max() / template.frame[1].min() / scale)))
        made = _phantom(subject, template, warp(template, back, scale, size, sub), fit, scale)
        made = _with_lesions(made, subject, template, fit, scale)
        made = _with_extras(made, subject, template, back, scale, fibres)
        thickness = _thickness(made, template, scale, ribbon)
    last: dict[str, Any] = {"truth": {**made.truth, "thickness": thickness}}
    if keep_transform:
        affine = np.diag([template.grid.spacing] * 3 + [1.0])
        affine[:3, 3] = template.grid.origin
        last["transform"] = Diffeomorphism(velocity=fit.velocity, affine=affine, scale=scale)
    return made.replace(last)


def _with_extras(
    made: Phantom, subject: Subject, template: Template, back: Field, scale: float, fibres: bool
) -> Phantom:
    """Lay on the texture, and carry the fibres along."""
    extras: dict[str, Any] = {}
    if subject.texture > 0:
        extras["texture"] = make_texture(
            template, back, scale, made.affine, made.shape, subject.texture, subject.rng(4)
        )
    if fibres:
        lesion = TISSUE if TISSUE in made.tissues else ""
        late = max(subject.age - 50.0, 0.0) * subject.tissue_age_effect
        extras["diffusion"] = subject_diffusion(made, template, back, scale, late_years=late, lesion=lesion)
    return made.replace(extras) if extras else made


def _fitted(subject: Subject, template: Template, scale: float) -> VolumeFit:
    """Return the fit, corrected by measurements of the warped head until the volumes agree."""
    wild = random_velocity(template.grid, subject.rng(1), sigma=subject.shape_sigma / scale)
    fit = VolumeFit(template, wild, {r: v / scale**3 for r, v in subject.volumes.items()})
    for _ in range(ROUNDS):
        fit.iterate(ITERATIONS, 5e-3)
        fit.follow()
    fit.iterate(ITERATIONS, 2e-3)
    for probe, tolerance in PROBES:
        for _ in range(CORRECTIONS):
            volumes = _volumes(template, warp(template, fit.inverse(), scale, np.full(3, probe), 2))
            ratio = {r: v * 1e6 / volumes[r] for r, v in subject.volumes.items()}
            missed = fit.retarget(ratio, subject.icv * 1e6 / intracranial_volume(volumes))
            fit.iterate(ITERATIONS, min(max(0.1 * missed, 2e-4), 2e-3))
            if missed < tolerance:
                break
    return fit


def _volumes(template: Template, warped: Warped) -> dict[str, float]:
    return region_volumes(warped.fractions, template.tissues, warped.left, warped.affine)


def _phantom(subject: Subject, template: Template, warped: Warped, fit: VolumeFit, scale: float) -> Phantom:
    """Return the deformed head with its truth, before lesions and texture."""
    truth = _truth(subject, fit, _volumes(template, warped), scale)
    if template.notice is not None:
        truth["notice"] = template.notice
    made = Phantom(
        **template.kept,
        name=subject.id,
        fractions=warped.fractions,
        affine=warped.affine,
        scale={k: dict(v) for k, v in subject.scale.items() if k in template.tissues},
        labels=region_labels(warped.fractions, template.tissues, warped.left),
        truth=truth,
    )
    return made


def _ribbon_thickness(template: Template, back: Field, scale: float) -> float | None:
    """Return the mean cortical thickness [m]; a head too coarse to resolve a cortex has none."""
    if template.frame[1].max() > RIBBON_VOXEL:
        return None
    cortex = template.regions["cortical_gm"] > 0
    fine = warp(template, back, scale, np.full(3, RIBBON_VOXEL), 1, wanted=cortex)
    part = dict(zip(template.tissues, fine.fractions, strict=True))
    inner = np.asarray(sum(part[t] for t in INNER), np.float32)
    return mean_thickness(ribbon_thickness(part["gm"], inner, RIBBON_VOXEL), part["gm"])


def _thickness(
    made: Phantom, template: Template, scale: float, ribbon: Future[float | None]
) -> dict[str, float | None]:
    """Return mean cortical thickness: measured, and relative to the template's by the cortical volume."""
    volume = made.truth["volumes_ml"]["cortical_gm"] * 1e-6 / (template.volumes["cortical_gm"] * scale**3)
    measured = ribbon.result()
    return {
        "measured_mm": None if measured is None else measured * 1e3,
        "expected_ratio": scale * volume**THICKNESS_EXPONENT,
    }


def _with_lesions(
    made: Phantom, subject: Subject, template: Template, fit: VolumeFit, scale: float
) -> Phantom:
    """Paint the subject's lesions; none leave the phantom as it is."""
    lesions = draw_lesions(template, subject.lesion_volume / scale**3, subject.rng(3))
    if not lesions:
        return made
    forth = exponential(fit.velocity, fit.spacing)
    centers = moved(template, np.array([lesion.center for lesion in lesions]), forth, scale)
    painted = paint_lesions(
        made.fractions, made.affine, made.tissues.index(HOST), lesions, centers, subject.lesion_volume
    )
    return made.replace(
        {
            "tissues": (*made.tissues, TISSUE),
            "fractions": painted.fractions,
            "table": lesion_table(made.table, subject.lesion_contrast),
            "scale": {**made.scale, **({TISSUE: made.scale[HOST]} if HOST in made.scale else {})},
            "truth": {**made.truth, "lesions": painted.truth},
        }
    )


def _truth(subject: Subject, fit: VolumeFit, volumes: dict[str, float], scale: float) -> dict[str, Any]:
    return {
        "id": subject.id,
        "index": subject.index,
        "seed": subject.seed,
        "age": subject.age,
        "sex": subject.sex,
        "diagnosis": subject.diagnosis,
        "severity": subject.severity,
        "visit": subject.visit,
        "years": subject.years,
        "sites": list(subject.sites),
        "icv_ml": intracranial_volume(volumes),
        "icv_target_ml": subject.icv * 1e6,
        "volumes_ml": volumes,
        "target_ml": {r: v * 1e6 for r, v in subject.volumes.items()},
        "expected_ml": {r: v * 1e6 for r, v in subject.expected.items()},
        "texture_sd": subject.texture,
        "tissue_scale": subject.scale,
        "deformation": _deformation(subject.id, fit, scale),
    }


def _deformation(name: str, fit: VolumeFit, scale: float) -> dict[str, float]:
    """Return statistics of the map; refuse one that folds.

    The map that makes the subject is the one that is pulled through, subject -> template: its determinant is
    positive in all corners of all cells, where a trilinear map has its extremes along each axis.
    """
    back = fit.inverse()
    lowest = lowest_jacobian(back, fit.spacing)
    if not lowest > 0:
        raise PhantomError(
            f"the deformation of {name} must not fold; got a Jacobian of {lowest:.3f}. "
            "Its volumes are too far from the head's: narrow the cohort's spreads or ages."
        )
    u = exponential(fit.velocity, fit.spacing)
    j: NDArray[np.float32] = jacobian(u, fit.spacing)[fit.window > 0]
    length = np.sqrt((u**2).sum(axis=0))[fit.window > 0] * scale
    return {
        "linear_scale": scale,
        "jacobian_min": lowest,
        "jacobian_max": float(j.max()),
        "jacobian_log_sd": float(np.log(np.maximum(j, math.exp(-14))).std()),
        "displacement_mean_mm": float(length.mean() * 1e3),
        "displacement_max_mm": float(length.max() * 1e3),
    }
