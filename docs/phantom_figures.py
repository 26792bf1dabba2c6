"""Draw the pictures of docs/phantoms.md: ``python docs/phantom_figures.py [heads|nuclei|objects]``."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from phantoms import Phantom, make_phantom

FOLDER = Path(__file__).parent / "images"
HEADS = ("icbm152", "colin27", "procedural")
COLOURS = {
    "csf": "#1d3b7a", "ventricular_csf": "#2fa8e6", "gm": "#b5544e", "cerebellar_gm": "#d9822b",
    "wm": "#ececec",
    "cerebellar_wm": "#f2dfb4", "thalamus": "#2a9d4a", "caudate": "#7a3fd0", "putamen": "#e040c0",
    "pallidum": "#ffe000", "accumbens": "#ff7f50", "hippocampus": "#00c49a", "amygdala": "#a8e02a",
    "red_nucleus": "#e00000", "substantia_nigra": "#202020", "dentate": "#0000c0", "brainstem": "#8fa39a",
    "arterial_blood": "#ff0000", "venous_blood": "#2030ff", "skull": "#7d6340", "marrow": "#f0b060",
    "fat": "#f7ef9a", "skin": "#f0a090", "muscle": "#7c4242", "spinal_cord": "#b0b0ff",
    "extracranial_fluid": "#0050e0",
}  # fmt: skip
"""Colour per tissue of a head; a voxel mixes them by its fractions."""
CUTS = ((0, 0.006), (1, -0.018), (2, 0.004))
OBJECTS = (
    ("nist-system", "T1", {"voxel_size": 1e-3, "arrays": ("t1",)}, ((1, 0.0565),)),
    ("nist-system", "T2", {"voxel_size": 1e-3, "arrays": ("t2",)}, ((1, 0.0165),)),
    ("nist-system", "PD", {"voxel_size": 1e-3, "arrays": ("pd",), "fiducials": False}, ((1, -0.0235),)),
    ("nist-diffusion", "ADC", {"voxel_size": 1e-3}, ((1, 0.0),)),
    ("magphan", "T1w", {"voxel_size": 1e-3}, ((1, 0.0),)),
    ("acr", "PD", {"voxel_size": (5e-4, 5e-4, 2e-3)}, ((2, -0.050), (2, -0.010), (2, 0.050))),
    ("grid", "PD", {"voxel_size": 1e-3}, ((2, 0.01),)),
    ("water-fat", "fat", {"voxel_size": 1e-3}, ((2, 0.0),)),
    ("gach", "T1w", {"voxel_size": 1e-3}, ((2, -0.025),)),
    ("shepp-logan-2d", "PD", {"voxel_size": 1e-3}, ((2, 0.0),)),
    ("shepp-logan-3d", "PD", {"voxel_size": 1e-3}, ((2, -0.025),)),
    ("sphere", "PD", {"voxel_size": 2e-3}, ((2, 0.0),)),
)
"""Name, what is shown, options, and axis and position [m] of the planes."""


def weighted(p: Phantom, what: str) -> np.ndarray:
    """Map of one property at 3 T, mixed by the fractions.

    "T1w" is a spin echo (TR 600, TE 10 ms), "MPRAGE" an inversion recovery (TI 900, TR 2300 ms).
    """
    tissues = p.properties(3.0)
    if what in ("T1", "T2"):
        values = [0.0 if t.name in ("water", "fiducial") else getattr(t, what.lower()) for t in tissues]
    elif what == "ADC":
        values = [t.adc for t in tissues]
    elif what == "fat":
        values = [1.0 if t.name.startswith("fat") else 0.0 for t in tissues]
    elif what == "PD":
        values = [0.0 if t.name == "water" and p.name.startswith("nist") else t.pd for t in tissues]
    elif what == "MPRAGE":
        values = [
            t.pd * max(0.0, 1 - 2 * np.exp(-0.9 / t.t1) + np.exp(-2.3 / t.t1)) * (t.t2 > 2e-3)
            for t in tissues
        ]
    else:
        values = [t.pd * (1 - np.exp(-0.6 / t.t1)) * np.exp(-0.01 / t.t2) for t in tissues]
    return np.tensordot(np.asarray(values, np.float32), p.fractions, 1)


def plane(p: Phantom, volume: np.ndarray, axis: int, position: float) -> np.ndarray:
    """Slice at a world position, transposed for imshow."""
    index = round((position - p.affine[axis, 3]) / p.affine[axis, axis])
    return np.take(volume, index, axis=axis).swapaxes(0, 1)


def coloured(p: Phantom) -> np.ndarray:
    """Colours of the tissues, mixed by the fractions."""
    table = np.array([to_rgb(COLOURS[t]) for t in p.tissues], np.float32)
    return np.clip(np.moveaxis(np.tensordot(table.T, p.fractions, 1), 0, -1), 0, 1)


def heads() -> None:
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(3, 6, figsize=(12, 6.6), facecolor="black", layout="constrained")
    for row, name in zip(axes, HEADS, strict=True):
        p = make_phantom(name, voxel_size=1.4e-3 if name == "procedural" else 1e-3)
        grey, colour = weighted(p, "MPRAGE"), coloured(p)
        for a, (axis, position) in zip(row[:3], CUTS, strict=True):
            a.imshow(plane(p, grey, axis, position), origin="lower", cmap="gray", vmin=0, vmax=0.36)
        for a, (axis, position) in zip(row[3:], CUTS, strict=True):
            a.imshow(plane(p, colour, axis, position), origin="lower", interpolation="nearest")
        row[0].set_title(name, color="white", fontsize=10, loc="left")
    finish(fig, axes, "phantom-heads.png")


def nuclei() -> None:
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    cuts = ((1, 0.010), (1, -0.009), (1, -0.018), (2, -0.009), (2, 0.004), (2, -0.031))
    fig, axes = plt.subplots(2, 6, figsize=(12, 4.9), facecolor="black", layout="constrained")
    for row, name in zip(axes, HEADS[:2], strict=True):
        p = make_phantom(name, voxel_size=7e-4)
        colour = coloured(p)
        for a, (axis, position) in zip(row, cuts, strict=True):
            a.imshow(plane(p, colour, axis, position), origin="lower", interpolation="nearest")
            other = 2 if axis == 1 else 1
            low = (-0.05 if axis == 1 else -0.08) - p.affine[other, 3]
            a.set_xlim((-0.05 - p.affine[0, 3]) / 7e-4, (0.05 - p.affine[0, 3]) / 7e-4)
            a.set_ylim(low / 7e-4, (low + 0.11) / 7e-4)
            a.set_title(f"{'xyz'[axis]} = {position * 1e3:.0f} mm", color="white", fontsize=8)
    shown = (
        "caudate", "putamen", "pallidum", "accumbens", "thalamus", "hippocampus", "amygdala", "red_nucleus",
        "substantia_nigra", "dentate", "arterial_blood", "venous_blood",
    )  # fmt: skip
    legend = [Patch(color=COLOURS[t], label=t.replace("_", " ")) for t in shown]
    fig.legend(
        handles=legend, ncol=6, loc="outside lower center", frameon=False, labelcolor="white", fontsize=8
    )
    finish(fig, axes, "phantom-nuclei.png")


def objects() -> None:
    import matplotlib.pyplot as plt

    panels = [(n, w, o, cut) for n, w, o, cuts in OBJECTS for cut in cuts]
    fig, axes = plt.subplots(3, 5, figsize=(11, 7), facecolor="black", layout="constrained")
    made: dict[str, Phantom] = {}
    for a, (name, what, options, (axis, position)) in zip(axes.flat, panels, strict=False):
        key = f"{name}{options}"
        if key not in made:
            made = {key: make_phantom(name, **options)}
        image = plane(made[key], weighted(made[key], what), axis, position)
        a.imshow(
            image, origin="lower", cmap="gray" if what in ("PD", "T1w") else "magma", interpolation="nearest"
        )
        title = f"{name}, {what}" + (f", z = {position * 1e3:.0f} mm" if name == "acr" else "")
        a.set_title(title, color="white", fontsize=8)
    finish(fig, axes, "phantom-objects.png")


def finish(fig: Figure, axes: np.ndarray, name: str) -> None:
    for a in axes.flat:
        a.axis("off")
    FOLDER.mkdir(exist_ok=True)
    fig.savefig(FOLDER / name, dpi=100, facecolor="black", metadata={"Software": None})


if __name__ == "__main__":
    mpl.use("Agg")
    for choice in sys.argv[1:] or ("heads", "nuclei", "objects"):
        {"heads": heads, "nuclei": nuclei, "objects": objects}[choice]()
