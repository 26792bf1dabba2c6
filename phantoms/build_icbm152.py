"""Build the packaged head from the ICBM 152 2009a maps: ``python -m phantoms.build_icbm152 SRC_DIR``.

The source maps are the three files ``mni_icbm152_{gm,wm,t1}_tal_nlin_sym_09a_converted.nii.gz``. They are an
average of 152 people in a space larger than a mean adult, so the build sharpens the classes to the volumes
of a mean adult of 30 years, repairs known class errors, paints deep nuclei, and adds skull and scalp.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from . import _build_brain as brain
from . import _build_shells as shell
from ._build_brain import Array, Template

DATA = Path(__file__).parent / "data"
HEAD_FILE = DATA / "icbm152_head.h5"
LOWER, UPPER = (-92, -128, -112), (92, 118, 100)
"""First and last voxel centre of the built grid [mm]."""
SEED = 152
ICV_ML = 1525.0
TARGETS_ML = {
    "gm": 537.0, "wm": 476.0, "cerebellar_gm": 116.0, "cerebellar_wm": 28.0, "thalamus": 16.3,
    "caudate": 8.0, "putamen": 10.6, "pallidum": 3.9, "hippocampus": 9.2, "amygdala": 3.9,
}  # fmt: skip
"""Volumes of a mean adult of 30 years, women and men averaged, both sides together (modelling choice
rounded from published brain charts, Bethlehem 2022; the intracranial volume likewise)."""
TISSUES = (
    "csf", "ventricular_csf", "gm", "cerebellar_gm", "wm", "cerebellar_wm", "thalamus", "caudate", "putamen",
    "pallidum", "hippocampus", "amygdala", "brainstem", "skull", "marrow", "fat", "skin", "muscle",
    "spinal_cord", "extracranial_fluid",
)  # fmt: skip


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
    icv = shell.intracranial_distance(t, rng)
    inside = np.maximum(brain.soft(icv), t.mask).astype(np.float32)
    scale3 = ICV_ML * 1e3 / float(inside.sum(dtype=np.float64))
    want = {k: v * 1e3 / scale3 for k, v in TARGETS_ML.items()}

    stem = brain.brainstem(t)
    zone = brain.ventricle_zone(t, shell.signed_distance(t.mask) * -1.0)
    parts = brain.nuclei(t, stem, want)
    parts["brainstem"] = stem
    painted = np.add.reduce(list(parts.values()))
    room = np.asarray(t.mask * np.clip(1.0 - painted, 0.0, 1.0), np.float32)

    parts["ventricular_csf"], rim_wm = brain.ventricle_repair(t, zone, room)
    room = np.where(zone, 0.0, room).astype(np.float32)
    below = brain.cerebellum_zone(t)
    cb_room = np.asarray(room * below, np.float32)
    cb = brain.cerebellum(t, cb_room, want["cerebellar_gm"], want["cerebellar_wm"])
    parts["cerebellar_gm"], parts["cerebellar_wm"], cb_csf = cb

    # The average's blurred edge of pons and medulla reads as grey matter: it is fluid.
    around = (shell.signed_distance(stem > 0.5) < 3.0) & (t.z < -18) & ~below
    room = np.where(around, 0.0, room).astype(np.float32)
    where = (room > 0) & ~below
    p = np.stack([t.gm[where], t.wm[where], np.clip(1.0 - t.gm[where] - t.wm[where], 0.0, 1.0)])
    wm = want["wm"] - float(rim_wm.sum(dtype=np.float64))
    left = float(room[where].sum(dtype=np.float64))
    targets = np.array([want["gm"], wm, left - want["gm"] - wm])
    classes = brain.sharpen(p, room[where], targets)
    for name, values in zip(("gm", "wm", "csf"), classes, strict=True):
        parts[name] = np.zeros(t.x.shape, np.float32)
        parts[name][where] = values
    parts["wm"] += rim_wm
    filled = np.add.reduce([parts[k] for k in parts]) + cb_csf
    parts["csf"] += cb_csf + np.clip(inside - filled, 0.0, 1.0)
    filled = np.add.reduce(list(parts.values()))
    for name, values in shell.shells(t, icv, rng).items():
        parts[name] = np.minimum(values, 1.0 - filled).clip(0.0, 1.0).astype(np.float32)
        filled += parts[name]
    return {k: parts[k] for k in TISSUES}, scale3 ** (1 / 3)


def quantise(parts: dict[str, Array]) -> dict[str, NDArray[np.uint8]]:
    """Round to 1/255 so that the sum of each voxel is rounded too and never exceeds 255."""
    out: dict[str, NDArray[np.uint8]] = {}
    running = np.zeros(next(iter(parts.values())).shape, np.float64)
    before = np.zeros(running.shape, np.int16)
    for name, values in parts.items():
        running += values
        now = np.minimum(np.rint(running * 255.0), 255).astype(np.int16)
        out[name] = (now - before).astype(np.uint8)
        before = now
    return out


def write(path: Path, parts: dict[str, NDArray[np.uint8]], scale: float) -> None:
    """Write the compact file, each tissue cropped to its bounding box."""
    import h5py

    notice = (DATA / "NOTICE-MNI.txt").read_text(encoding="utf-8")
    affine = np.diag([scale * 1e-3] * 3 + [1.0])
    affine[:3, 3] = np.asarray(LOWER) * scale * 1e-3
    temporary = path.with_suffix(".h5.tmp")
    with h5py.File(temporary, "w") as f:
        f.attrs["notice"] = notice
        f.attrs["origin"] = "derived from ICBM 152 nonlinear symmetric 2009a; see notice"
        f.attrs["affine"] = affine
        f.attrs["shape"] = next(iter(parts.values())).shape
        f.attrs["tissues"] = list(parts)
        for name, values in parts.items():
            box = ndimage.find_objects((values > 0).astype(np.int8))[0]
            d = f.create_dataset(
                name, data=values[box], compression="gzip", compression_opts=9, track_times=False
            )
            d.attrs["start"] = [s.start for s in box]
    temporary.replace(path)


def main() -> None:
    """Build the packaged head file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with the three ICBM 152 2009a maps")
    parser.add_argument("--out", type=Path, default=HEAD_FILE)
    args = parser.parse_args()
    parts, scale = build(load_template(args.source))
    write(args.out, quantise(parts), scale)
    for name, values in parts.items():
        print(f"{name:20s} {values.sum(dtype=np.float64) * scale**3 / 1e3:9.2f} mL")
    print(f"linear scale {scale:.4f}, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
