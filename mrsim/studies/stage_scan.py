"""Stages from a subject to an image in the frame of the head: phantom, sequence, scan, recon, maps, align."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import seeds
from .canonical import pretty_json
from .records import from_record
from .sidecar import sidecar
from .stage import StageContext

if TYPE_CHECKING:
    import numpy as np

    from mrsim.simulation import Session
    from phantoms import Phantom
    from protocols import Protocol, Scanner

TRUTH_SESSION = "truth"
"""Session label of the counterfactual: the reference scanner without noise, drift or repositioning."""
ANALYSIS_BOX = ((-0.084, 0.084), (-0.122, 0.090), (-0.082, 0.096))
"""Extent of the analysis grid in the head frame [m]: every adult brain of the cohort law, with a margin."""
TISSUES = {
    "csf": ("csf", "ventricular_csf"),
    "gm": ("gm", "cerebellar_gm", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala"),
    "wm": ("wm", "cerebellar_wm", "brainstem"),
}
"""Tissues of a head that a three-class segmentation calls CSF, grey and white matter."""
REGIONS = {
    "ventricles": ("ventricular_csf",),
    "cortex": ("gm",),
    "cerebral_wm": ("wm",),
    "deep_gm": ("thalamus", "caudate", "putamen", "pallidum"),
    "hippocampus": ("hippocampus",),
    "cerebellum": ("cerebellar_gm", "cerebellar_wm"),
    "brainstem": ("brainstem",),
}
"""Regions that are measured, as sums of the head's tissues."""
REGION_CLASSES = {
    "ventricles": ("csf",),
    "cortex": ("gm",),
    "cerebral_wm": ("wm",),
    "deep_gm": ("gm", "wm"),
    "hippocampus": ("gm",),
    "cerebellum": ("gm", "wm"),
    "brainstem": ("gm", "wm"),
}
"""Segmented tissues that count towards a region's volume."""


def phantom(ctx: StageContext) -> None:
    """Make one subject: ``phantom.h5`` and its ``truth.json``."""
    from phantoms import CohortSpec, load_phantom, make_subject, sample_cohort, save_phantom

    p = ctx.params
    number = int(p["subject_number"])
    spec = CohortSpec(
        n_subjects=number,
        seed=ctx.seed,
        age_range=tuple(p["age_range"]),
        male_fraction=1.0 - float(p["female_fraction"]),
        age_effect=float(p["age_effect"]),
        sex_effect=float(p["sex_effect"]),
        tissue_age_effect=float(p["tissue_age_effect"]),
        volume_spread=float(p["volume_spread"]),
        tissue_spread=float(p["tissue_spread"]),
        icv_spread=float(p["icv_spread"]),
        shape_spread=float(p["shape_spread"]),
    )
    head = None if p["anatomy"] == "icbm152" else load_phantom(ctx.one("anatomy"))
    subject = sample_cohort(spec)[number - 1]
    made = make_subject(subject, head, voxel_size=float(p["voxel_size"]))
    save_phantom(ctx.out_dir / "phantom.h5", made)
    (ctx.out_dir / "truth.json").write_bytes(pretty_json(made.truth))


def sequence(ctx: StageContext) -> None:
    """Build the pulse sequence of one card on one scanner: ``sequence.seq``."""
    from protocols import write_seq

    scanner, card = records(ctx)
    write_seq(ctx.out_dir / "sequence.seq", card, scanner)


def records(ctx: StageContext) -> tuple["Scanner", "Protocol"]:
    """Scanner and card of a cell."""
    from protocols import Protocol, Scanner

    return from_record(Scanner, ctx.params["scanner"]), from_record(Protocol, ctx.params["card"])


def visit(ctx: StageContext, scanner: "Scanner", head: "Phantom") -> "Session":
    """Session of a scan: all contrasts of one run share one visit; the counterfactual has a nominal one."""
    import numpy as np

    from mrsim.simulation import Session, draw_session

    if ctx.key["session"] == TRUTH_SESSION:
        return Session()
    key = {name: ctx.key[name] for name in ("subject", "session", "run")}
    index = np.argwhere(head.brain_mask()).mean(axis=0)
    pivot = head.affine[:3, :3] @ index + head.affine[:3, 3]
    return draw_session(scanner, seeds.stream(ctx.seed, "visit", key), pivot=pivot)


def scan(ctx: StageContext) -> None:
    """Simulate one scan: ``raw.h5`` (ISMRMRD) and ``session.json``."""
    from dataclasses import replace

    import numpy as np

    from mrsim.simulation import SimulationOptions, simulate, write_ismrmrd
    from phantoms import load_phantom
    from protocols import read_seq

    scanner, card = records(ctx)
    head = load_phantom(ctx.one("phantom") / "phantom.h5")
    played = read_seq(ctx.one("sequence") / "sequence.seq")
    session = visit(ctx, scanner, head)
    prescription = card.prescription()
    # The technologist centres the field of view on the head; repositioning is what this misses.
    prescription = replace(prescription, center=_head_center(head))
    o = ctx.params["options"]
    options = SimulationOptions(
        channels=o["coils"],
        tolerance=float(o["tolerance"]),
        b0=bool(o["b0"]),
        b1=bool(o["b1"]),
        noise=bool(o["noise"]) and ctx.key["session"] != TRUTH_SESSION,
    )
    raw = simulate(head, played, scanner, prescription, rng=ctx.rng, session=session, options=options)
    write_ismrmrd(ctx.out_dir / "raw.h5", raw)
    recipe = {**raw.recipe, "center_m": np.asarray(prescription.center).tolist()}
    (ctx.out_dir / "session.json").write_bytes(pretty_json(recipe))


def _head_center(head: "Phantom") -> "np.ndarray[Any, Any]":
    """Centre of the box around the brain [m], head frame."""
    import numpy as np

    index = np.argwhere(head.brain_mask())
    middle = 0.5 * (index.min(axis=0) + index.max(axis=0))
    return np.asarray(head.affine[:3, :3] @ middle + head.affine[:3, 3])


def recon(ctx: StageContext) -> None:
    """Reconstruct one scan as its vendor would: ``image.nii.gz``, ``image.json``, ``session.json``."""
    from recon import read_raw, reconstruct, write_nifti

    from .recon_choice import recon_options

    folder = ctx.one("scan")
    scanner, _ = records(ctx)
    image = reconstruct(read_raw(folder / "raw.h5"), recon_options(scanner, ctx.params["options"]))
    keys = sidecar(
        ctx.params["scanner"],
        ctx.params["card"],
        measured=image.meta["sidecar"],
        combine=image.meta["recipe"]["options"]["combine"],
    )
    write_nifti(ctx.out_dir / "image.nii.gz", image, keys)
    (ctx.out_dir / "session.json").write_bytes((folder / "session.json").read_bytes())


def analysis_grid(voxel_size: float) -> tuple[tuple[int, int, int], "np.ndarray[Any, Any]"]:
    """Shape and affine [m] of the analysis grid in the head frame."""
    import numpy as np

    shape = tuple(round((high - low) / voxel_size) for low, high in ANALYSIS_BOX)
    affine = np.diag([voxel_size] * 3 + [1.0])
    affine[:3, 3] = [low + 0.5 * voxel_size for low, _ in ANALYSIS_BOX]
    return (shape[0], shape[1], shape[2]), affine


def maps(ctx: StageContext) -> None:
    """Map what a real study would know on the analysis grid, and the truth: ``maps.npz``, ``mask.nii.gz``.

    ``mask`` (a perfect skull strip) and ``fractions`` (csf, gm, wm) come from the subject; ``priors`` and
    ``regions`` from the template, matched to the mask's place and size as a real pipeline would.
    """
    import numpy as np

    from mrsim.evaluation import align_to_mask, smooth_priors
    from phantoms import icbm152_head, load_phantom

    from .volumes import resample, save_volume

    voxel = float(ctx.params["voxel_size"])
    shape, affine = analysis_grid(voxel)
    head = load_phantom(ctx.one("phantom") / "phantom.h5")
    index = np.linalg.solve(head.affine, affine)
    sums = np.stack([head.fraction(*names) for names in TISSUES.values()])
    fractions = np.stack([resample(part, index, shape, order=1) for part in sums]).clip(0.0, 1.0)
    mask = _skull_strip(fractions, voxel)
    template = icbm152_head(2e-3)
    own = np.stack([template.fraction(*names) for names in TISSUES.values()])
    regions = np.stack([template.fraction(*names) for names in REGIONS.values()])
    smooth = smooth_priors(own, sigma=(2.0, 2.0, 2.0))
    wide = np.stack([_blurred(part, 1.5) for part in regions])
    stack = np.concatenate([smooth, wide])
    placed = align_to_mask(stack, _skull_strip(own, 2e-3), template.affine, mask, affine)
    total = placed[3:].sum(axis=0)
    soft = np.where(total > 1e-3, placed[3:] / np.maximum(total, 1e-3), 0.0)
    np.savez(
        ctx.out_dir / "maps.npz",
        mask=mask, fractions=fractions.astype(np.float32), priors=placed[:3].astype(np.float32),
        regions=soft.astype(np.float32), region_names=np.array(list(REGIONS)), affine=affine,
    )  # fmt: skip
    save_volume(ctx.out_dir / "mask.nii.gz", mask.astype(np.uint8), affine)


def _blurred(volume: "np.ndarray[Any, Any]", sigma: float) -> "np.ndarray[Any, Any]":
    import numpy as np
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(volume, sigma))


def _skull_strip(fractions: "np.ndarray[Any, Any]", voxel: float) -> "np.ndarray[Any, Any]":
    """Brain with its CSF: where the three tissues fill most of a voxel, rim voxels left out."""
    import numpy as np
    from scipy import ndimage

    inside = fractions.sum(axis=0) > 0.95
    label, count = ndimage.label(inside)
    if count > 1:
        sizes = np.bincount(label.reshape(-1))[1:]
        inside = label == int(np.argmax(sizes)) + 1
    rim = max(1, round(1e-3 / voxel))
    return np.asarray(ndimage.binary_erosion(inside, iterations=rim))


def align(ctx: StageContext) -> None:
    """Resample an image into the head frame by its recorded pose: ``image.nii.gz``, ``mask.nii.gz``.

    The registration is the true one, so that its errors do not mix with those under study.
    """
    import numpy as np

    from .volumes import load_volume, resample, save_volume

    voxel = float(ctx.params["voxel_size"])
    shape, affine = analysis_grid(voxel)
    data, image_affine = load_volume(ctx.one("image") / "image.nii.gz")
    pose = json.loads((ctx.one("image") / "session.json").read_text())["session"]["head_to_world"]
    index = np.linalg.solve(image_affine, np.asarray(pose) @ affine)
    aligned = resample(data, index, shape, order=3)
    save_volume(ctx.out_dir / "image.nii.gz", np.maximum(aligned, 0.0).astype(np.float32), affine)
    (ctx.out_dir / "mask.nii.gz").write_bytes((ctx.one("maps") / "mask.nii.gz").read_bytes())


def load_maps(folder: Path) -> dict[str, Any]:
    """Arrays that `maps` wrote."""
    import numpy as np

    with np.load(folder / "maps.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
