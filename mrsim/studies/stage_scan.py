"""Stages from a subject to an image in the frame of the head: phantom, sequence, scan, recon, maps, align."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import seeds
from .canonical import pretty_json
from .cohort import described
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
    "csf": ("csf", "ventricular_csf", "arterial_blood", "venous_blood"),
    "gm": (
        "gm", "cerebellar_gm", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala",
        "accumbens", "dentate",
    ),
    "wm": ("wm", "wmh", "cerebellar_wm", "brainstem", "red_nucleus", "substantia_nigra"),
}  # fmt: skip
"""Tissues of a head that a three-class segmentation calls CSF, grey and white matter (lesions: white)."""
REGIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "ventricles": (("ventricular_csf",), ("csf",), ("csf",)),
    "cortex": (("gm",), ("gm",), ("gm",)),
    "deep_gm": (("thalamus", "caudate", "putamen", "pallidum", "accumbens"), ("gm",), ("gm",)),
    "hippocampus": (("hippocampus",), ("gm",), ("gm",)),
    "cerebral_wm": (("wm",), ("wm",), ("wm",)),
    "cerebellum": (("cerebellar_gm", "cerebellar_wm", "dentate"), ("gm", "wm"), ("gm", "wm")),
    "brainstem": (("brainstem", "red_nucleus", "substantia_nigra"), ("wm",), ("gm", "wm")),
}
"""Regions that are measured: the head's tissues that make them, the classes of `TISSUES` that they share with
their rivals, and the segmented classes that count towards them."""
REGION_CLASSES = {name: counted for name, (_, _, counted) in REGIONS.items()}
"""Segmented tissues that count towards a region's volume."""
_TERRITORY = 5e-3
"""Blur of the territories [m]: a ventricle that reaches beyond the template's is still a ventricle."""


def phantom(ctx: StageContext) -> None:
    """Make one subject: ``phantom.h5`` and its ``truth.json``."""
    from phantoms import load_phantom, make_subject, sample_cohort, save_phantom

    p = ctx.params
    number = int(p["subject_number"])
    spec = described(p, number, ctx.seed)
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
    from mrsim.simulation import Session, draw_session

    if ctx.key["session"] == TRUTH_SESSION:
        return Session()
    key = {name: ctx.key[name] for name in ("subject", "session", "run")}
    return draw_session(scanner, seeds.stream(ctx.seed, "visit", key), pivot=brain_centroid(head))


def scan(ctx: StageContext) -> None:
    """Simulate one scan: ``raw.h5`` (ISMRMRD) and ``session.json``."""
    from dataclasses import replace

    import numpy as np

    from mrsim.simulation import SimulationOptions, simulate, write_ismrmrd
    from mrsim.simulation.causes import switch_off
    from phantoms import load_phantom
    from protocols import read_seq

    from .noise_scan import noise_scan_only

    scanner, card = records(ctx)
    head = load_phantom(ctx.one("phantom") / "phantom.h5")
    played = read_seq(ctx.one("sequence") / "sequence.seq")
    session = visit(ctx, scanner, head)
    prescription = card.prescription()
    # The technologist centres the field of view on the head; repositioning is what this misses.
    prescription = replace(prescription, center=head_center(head))
    o = ctx.params["options"]
    options = SimulationOptions(
        channels=o["coils"],
        tolerance=float(o["tolerance"]),
        b0=bool(o["b0"]),
        b1=bool(o["b1"]),
        noise=bool(o["noise"]),
        threads=1,
    )
    rng = ctx.rng
    if ctx.key["session"] == TRUTH_SESSION:
        # Its images are noiseless; coils are weighted by its noise scan as in any other session.
        rng = noise_scan_only(rng, played.label("NOISE") > 0)
    scanner, session, options = switch_off(o["off"], scanner=scanner, session=session, options=options)
    raw = simulate(head, played, scanner, prescription, rng=rng, session=session, options=options)
    write_ismrmrd(ctx.out_dir / "raw.h5", raw)
    recipe = {**raw.recipe, "center_m": np.asarray(prescription.center).tolist()}
    (ctx.out_dir / "session.json").write_bytes(pretty_json(recipe))


def brain_centroid(head: "Phantom") -> "np.ndarray[Any, Any]":
    """Centre of gravity of the brain [m], head frame: what repositioning turns about."""
    import numpy as np

    index = np.argwhere(head.brain_mask()).mean(axis=0)
    return np.asarray(head.affine[:3, :3] @ index + head.affine[:3, 3])


def head_center(head: "Phantom") -> "np.ndarray[Any, Any]":
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
    raw = read_raw(folder / "raw.h5")
    image = reconstruct(raw, recon_options(scanner, ctx.params["options"]))
    # The study may have simulated other than the record's number of loops.
    receive = {
        **ctx.params["scanner"]["receive"],
        "simulated_channels": int(raw.heads["active_channels"][-1]),
    }
    keys = sidecar(
        {**ctx.params["scanner"], "receive": receive},
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
    stack = np.concatenate([smooth_priors(own, sigma=(2.0, 2.0, 2.0)), territories(template)])
    placed = align_to_mask(stack, _skull_strip(own, 2e-3), template.affine, mask, affine)
    soft = placed[3:].clip(0.0, 1.0)
    np.savez(
        ctx.out_dir / "maps.npz",
        mask=mask, fractions=fractions.astype(np.float32), priors=placed[:3].astype(np.float32),
        regions=soft.astype(np.float32), region_names=np.array(list(REGIONS)), affine=affine,
    )  # fmt: skip
    save_volume(ctx.out_dir / "mask.nii.gz", mask.astype(np.uint8), affine)


def territories(template: "Phantom") -> "np.ndarray[Any, Any]":
    """Return where each region of `REGIONS` owns its classes, (region, x, y, z), 0 to 1.

    A region's territory is its blurred tissue over the blurred tissue of all that share its class: whatever
    is segmented as CSF near the ventricles counts as ventricle, also where the template has none.
    """
    import numpy as np
    from scipy.ndimage import gaussian_filter

    sigma = _TERRITORY / np.asarray(template.voxel_size)

    def blurred(names: tuple[str, ...]) -> "np.ndarray[Any, Any]":
        return np.asarray(gaussian_filter(template.fraction(*names), sigma), dtype=np.float64)

    rivals = {name: blurred(members) for name, members in TISSUES.items()}
    found = []
    for members, classes, _ in REGIONS.values():
        everything = np.add.reduce([rivals[name] for name in classes])
        found.append(
            np.divide(blurred(members), everything, out=np.zeros_like(everything), where=everything > 1e-7)
        )
    return np.stack(found).astype(np.float32)


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
