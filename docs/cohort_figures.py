"""Draw the figures of docs/cohorts.md: ``python docs/cohort_figures.py``."""

import dataclasses
from pathlib import Path

import matplotlib as mpl
import matplotlib.colors
import numpy as np

from phantoms import CohortSpec, Phantom, Subject, make_subject, sample_cohort
from phantoms.cohorts.laws import DIAGNOSES, LAWS, lesion_volume
from phantoms.cohorts.tissue_laws import tissue_scale
from phantoms.phantom import BRAIN_TISSUES

IMAGES = Path(__file__).parent / "images"
MIXED = {"control": 0.5, "mci": 0.2, "ad": 0.3}
SHOWN = {
    "cortical_gm": "cortical grey matter",
    "cerebral_wm": "cerebral white matter",
    "ventricles": "ventricles",
    "hippocampus": "hippocampus",
}
COLOURS = {"control": "#4878a8", "mci": "#d8a030", "ad": "#c04848"}
BRAIN = tuple(BRAIN_TISSUES - {"ventricular_csf"})
T1W = {"tr": 2.3, "ti": 0.9}


def curves() -> None:
    """Population curves: people, medians and the law."""
    import matplotlib.pyplot as plt

    adults = sample_cohort(CohortSpec(n_subjects=700, seed=1, age_range=(20, 55)))
    spec = CohortSpec(n_subjects=700, seed=2, age_range=(55, 90), diagnoses=MIXED)
    people = (*adults, *sample_cohort(spec))
    fig, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    ages = np.linspace(20, 90, 141)
    for ax, (region, title) in zip(axes, SHOWN.items(), strict=True):
        for name, colour in COLOURS.items():
            group = [p for p in people if p.diagnosis == name]
            label = "controls" if name == "control" else name.upper()
            volumes = [p.volumes[region] * 1e6 for p in group]
            ax.plot([p.age for p in group], volumes, ".", color=colour, ms=2.2, alpha=0.6, label=label)
        for name, colour in COLOURS.items():
            line = [a for a in ages if name == "control" or a >= 55]
            both = [np.exp(np.mean([np.log(spec.expected(a, x, spec.median_icv(x), diagnosis=name)[region])
                                    for x in "FM"])) * 1e6 for a in line]  # fmt: skip
            ax.plot(line, both, color="black", lw=3.2)
            ax.plot(line, both, color=colour, lw=1.8)
        ax.set(
            title=title,
            xlabel="age [y]",
            ylabel="volume [mL]",
            ylim=(0 if region != "cerebral_wm" else 200, None),
        )
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, markerscale=4, loc="lower left")
    _save(fig, "cohort-curves.png")


def contrast(p: Phantom) -> np.ndarray:
    """Inversion-recovery signal at 3 T, the picture of an MPRAGE."""
    out = np.zeros(p.shape, np.float32)
    for f, t in zip(p.fractions, p.properties(3.0), strict=True):
        signal = t.pd * (1 - 2 * np.exp(-T1W["ti"] / t.t1) / (1 + np.exp(-T1W["tr"] / t.t1)))
        out += f * max(float(signal), 0.0) * (0.0 if t.t2 < 2e-3 else 1.0)
    return out if p.texture is None else out * p.texture


def flair(p: Phantom) -> np.ndarray:
    """T2 weighting with nulled fluid at 3 T."""
    out = np.zeros(p.shape, np.float32)
    for f, t in zip(p.fractions, p.properties(3.0), strict=True):
        signal = t.pd * np.exp(-0.09 / t.t2) * abs(1 - 2 * np.exp(-2.5 / t.t1) + np.exp(-9.0 / t.t1))
        out += f * float(signal) * (0.0 if "csf" in t.name else 1.0)
    return out if p.texture is None else out * p.texture


def cut(p: Phantom, image: np.ndarray, axis: int, position: float) -> np.ndarray:
    """Slice of an image at a position [m], radiological up, padded to one size."""
    k = round((position - p.affine[axis, 3]) / p.affine[axis, axis])
    other = [a for a in range(3) if a != axis]
    extent = {0: (-0.09, 0.09), 1: (-0.125, 0.095), 2: (-0.085, 0.095)}
    grid = [np.arange(*extent[a], 1e-3) for a in other]
    index = [
        np.rint((g - p.affine[a, 3]) / p.affine[a, a]).astype(int) for g, a in zip(grid, other, strict=True)
    ]
    size = [image.shape[a] for a in other]
    part = np.take(image, k, axis=axis)[np.ix_(*(i.clip(0, n - 1) for i, n in zip(index, size, strict=True)))]
    valid = np.logical_and.outer(*((i >= 0) & (i < n) for i, n in zip(index, size, strict=True)))
    return np.asarray(np.where(valid, part, 0).T)


def person(age: float, diagnosis: str) -> Subject:
    """One woman of median size and residuals of zero, older or ill, as if she had been followed."""
    spec = CohortSpec(n_subjects=1, seed=12, age_range=(50, 90), lesions=1.0, texture=0.02)
    (drawn,) = sample_cohort(spec)
    volumes = spec.expected(age, "F", 1.45e-3, diagnosis=diagnosis)
    scale = tissue_scale(age, np.random.default_rng(0), spread=0.0)
    load = lesion_volume(age, "F") * DIAGNOSES[diagnosis].lesions if age > 45 else 0.0
    return dataclasses.replace(drawn, age=age, sex="F", icv=1.45e-3, volumes=volumes, expected=volumes,
                               diagnosis=diagnosis, lesion_volume=load, scale=scale)  # fmt: skip


def anatomy() -> None:
    """The same woman young, old and with Alzheimer's disease, tri-planar, and what changed."""
    import matplotlib.pyplot as plt

    columns = (("25 y", 25.0, "control"), ("78 y, healthy", 78.0, "control"), ("78 y, Alzheimer", 78.0, "ad"))
    made = [(title, make_subject(person(age, dx), voxel_size=1e-3)) for title, age, dx in columns]
    cuts = ((2, 0.012), (1, -0.020), (0, 0.025))
    fig, axes = plt.subplots(3, 4, figsize=(10.4, 8.6), facecolor="black", layout="constrained",
                             height_ratios=[220, 180, 180])  # fmt: skip
    for column, (title, p) in enumerate(made):
        image = contrast(p)
        top = float(np.percentile(image[p.fraction("wm") > 0.9], 50)) * 1.25
        for row, (axis, position) in enumerate(cuts):
            part = cut(p, image, axis, position)
            axes[row, column].imshow(part, origin="lower", cmap="gray", vmin=0, vmax=top)
        axes[0, column].set_title(title, color="white")
    old, ill = made[1][1], made[2][1]
    change = mpl.colors.LinearSegmentedColormap.from_list("change", ["#ff7050", "black", "#60a8ff"])
    for row, (axis, position) in enumerate(cuts):
        brain = [cut(p, p.fraction(*BRAIN), axis, position) for p in (old, ill)]
        last = axes[row, 3].imshow(brain[1] - brain[0], origin="lower", cmap=change, vmin=-1, vmax=1)
    axes[0, 3].set_title("tissue: disease - health", color="white")
    bar = fig.colorbar(last, ax=axes[:, 3], shrink=0.5)
    bar.ax.tick_params(colors="white", labelsize=8)
    for ax in axes.flat:
        ax.axis("off")
    _save(fig, "cohort-anatomy.png", facecolor="black")


def lesions() -> None:
    """Lesions of one man at three visits: FLAIR-like contrast and the mask."""
    import matplotlib.pyplot as plt

    spec = CohortSpec(n_subjects=1, seed=31, age_range=(72, 72), lesions=4.0, visits=(0, 6, 12), texture=0.02)
    made = [make_subject(s, voxel_size=1e-3) for s in sample_cohort(spec)]
    fig, axes = plt.subplots(2, 3, figsize=(8.4, 7.2), facecolor="black", layout="constrained")
    best = int(np.argmax(made[-1].fraction("wmh")[:, :, 90:140].sum(axis=(0, 1)))) + 90
    position = float(made[-1].affine[2, 3] + best * made[-1].affine[2, 2])
    for column, p in enumerate(made):
        image = flair(p)
        top = float(np.percentile(image[p.fraction("gm") > 0.9], 50)) * 1.7
        axes[0, column].imshow(cut(p, image, 2, position), origin="lower", cmap="gray", vmin=0, vmax=top)
        brain = cut(p, p.fraction("wm", "wmh"), 2, position)
        mask = cut(p, p.fraction("wmh"), 2, position)
        rest = 0.35 * brain * (1 - mask)
        axes[1, column].imshow(np.stack([rest + mask, rest + 0.55 * mask, rest], axis=-1), origin="lower")
        told = p.truth["lesions"]
        title = f"{p.truth['age']:.0f} y: {told['volume_ml']:.1f} mL, {told['count']} lesions"
        axes[0, column].set_title(title, color="white", fontsize=10)
    for ax in axes.flat:
        ax.axis("off")
    _save(fig, "cohort-lesions.png", facecolor="black")


def _save(fig: "mpl.figure.Figure", name: str, **options: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    fig.savefig(IMAGES / name, dpi=110, metadata={"Software": None}, **options)


if __name__ == "__main__":
    mpl.use("Agg")
    assert set(SHOWN) <= set(LAWS)
    curves()
    anatomy()
    lesions()
