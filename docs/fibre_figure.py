"""Draw docs/images/fibres.png, the fibres of the packaged head: ``python docs/fibre_figure.py``."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from phantoms import diffusion_truth, head_diffusion, icbm152_head

TARGET = Path(__file__).parent / "images" / "fibres.png"
CUTS = ((0, 0.0, "x = 0 mm"), (1, -0.015, "y = -15 mm"), (2, 0.024, "z = 24 mm"))
"""Axis and position [m] of the slices."""
SIZE = 1e-3


def draw() -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    head = icbm152_head(SIZE)
    truth = diffusion_truth(head.replace({"diffusion": head_diffusion(head, SIZE)}))
    fa, n = truth.fractional_anisotropy, truth.principal_direction
    inside = fa > 0.02
    low, high = (f(np.argwhere(inside), axis=0) for f in (np.min, np.max))
    fig, axes = plt.subplots(2, 3, figsize=(9, 6.4), facecolor="black", layout="constrained")
    for column, (axis, position, title) in enumerate(CUTS):
        others = [a for a in range(3) if a != axis]
        box = [slice(low[a], high[a] + 1) for a in range(3)]
        box[axis] = round((position - head.affine[axis, 3]) / SIZE)
        part = tuple(box)
        colour = np.clip(np.abs(n[part]) * fa[part][..., None] / 0.83, 0, 1)
        top, bottom = axes[:, column]
        top.imshow(colour.transpose(1, 0, 2), origin="lower", interpolation="nearest")
        at = np.argwhere(fa[part] > 0.3)
        at = at[(at % 3 == 0).all(axis=1)]
        bars = n[part][at[:, 0], at[:, 1]][:, others].T
        top.quiver(*at.T, *bars, color="white", pivot="mid", scale=45, width=0.003, headwidth=0, headlength=0,
                   headaxislength=0)  # fmt: skip
        shown = bottom.imshow(fa[part].T, origin="lower", vmin=0, vmax=0.85, cmap="gray")
        top.set_title(title, color="white", fontsize=9)
        for a in (top, bottom):
            a.axis("off")
    bar = fig.colorbar(shown, ax=axes[1], shrink=0.7)
    bar.set_label("fractional anisotropy", color="white", fontsize=8)
    bar.ax.tick_params(colors="white", labelsize=7)
    TARGET.parent.mkdir(exist_ok=True)
    fig.savefig(TARGET, dpi=110, facecolor="black", metadata={"Software": None})


if __name__ == "__main__":
    draw()
