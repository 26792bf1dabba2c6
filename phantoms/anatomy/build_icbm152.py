"""Build the packaged head from the ICBM 152 2009a maps: ``python -m phantoms.anatomy.build_icbm152 SRC_DIR``.

The source maps are the three files ``mni_icbm152_{gm,wm,t1}_tal_nlin_sym_09a_converted.nii.gz``. They are an
average of 152 people in a space larger than a mean adult, so the build sharpens the classes to the volumes
of a mean adult of 30 years, repairs known class errors, paints deep nuclei, and adds skull and scalp.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from . import _build_brain as brain
from . import _shells as shell
from ._build_brain import Template
from ._build_head import DATA, ICV_ML, TARGETS_ML, brain_parts, save, with_shells
from ._shapes import Array, soft

HEAD_FILE = DATA / "icbm152_head.h5"
LOWER, UPPER = (-92, -128, -112), (92, 118, 100)
"""First and last voxel centre of the built grid [mm]."""
SEED = 152


def load_template(source: Path) -> Template:
    """Read the maps and place them on the built grid."""
    import nibabel as nib

    size = tuple(u - lo + 1 for lo, u in zip(LOWER, UPPER, strict=True))
    maps = {}
    for key in ("gm", "wm", "t1"):
        image = nib.load(source / f"mni_icbm152_{key}_tal_nlin_sym_09a_converted.nii.gz")
        data = np.asarray(image.dataobj, np.float32)
        origin = np.rint(image.affine[:3, 3]).astype(int)
        out = np.zeros(size, np.float32)
        src, dst = [], []
        for a in range(3):
            start = max(LOWER[a], origin[a])
            stop = min(UPPER[a], origin[a] + data.shape[a] - 1) + 1
            src.append(slice(start - origin[a], stop - origin[a]))
            dst.append(slice(start - LOWER[a], stop - LOWER[a]))
        out[tuple(dst)] = data[tuple(src)]
        maps[key] = out
    mask = ndimage.binary_fill_holes(maps["t1"] > 0)
    grids = np.meshgrid(*(np.arange(lo, u + 1, dtype=np.float32) for lo, u in zip(LOWER, UPPER, strict=True)),
                        indexing="ij")  # fmt: skip
    return Template(
        gm=np.asarray(maps["gm"] / 255.0 * mask, np.float32),
        wm=np.asarray(maps["wm"] / 255.0 * mask, np.float32),
        t1=maps["t1"],
        mask=np.asarray(mask),
        x=grids[0],
        y=grids[1],
        z=grids[2],
    )


def build(t: Template) -> tuple[dict[str, Array], float]:
    """Return the fraction per tissue and the linear scale template -> mean adult."""
    rng = np.random.default_rng(SEED)
    icv = shell.intracranial_distance(t.mask, rng)
    inside = np.maximum(soft(icv), t.mask).astype(np.float32)
    scale3 = ICV_ML * 1e3 / float(inside.sum(dtype=np.float64))
    want = {k: v * 1e3 / scale3 for k, v in TARGETS_ML.items()}
    parts = brain_parts(t, icv, inside, want, brain.sharpen)
    return with_shells(parts, shell.shells(t, icv, rng)), scale3 ** (1 / 3)


def main() -> None:
    """Build the packaged head file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with the three ICBM 152 2009a maps")
    parser.add_argument("--out", type=Path, default=HEAD_FILE)
    args = parser.parse_args()
    parts, scale = build(load_template(args.source))
    save(args.out, parts, scale, LOWER, "derived from ICBM 152 nonlinear symmetric 2009a; see notice")


if __name__ == "__main__":
    main()
