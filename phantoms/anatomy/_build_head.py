"""What the head builds share: the order of painting and the volumes asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import _build_brain as brain
from ._build_brain import Template
from ._build_nuclei import nuclei, small_nuclei
from ._shapes import Array
from ._shells import signed_distance
from ._vessels import vessels
from .head_file import write_head_file

DATA = Path(__file__).parents[1] / "data"
ICV_ML = 1525.0
LEVELS = 255
"""Steps of the packed fractions."""
TARGETS_ML = {
    "gm": 537.0, "wm": 476.0, "cerebellar_gm": 116.0, "cerebellar_wm": 28.0, "thalamus": 16.3,
    "caudate": 8.0, "putamen": 10.6, "pallidum": 3.9, "hippocampus": 9.2, "amygdala": 3.9, "accumbens": 1.0,
    "red_nucleus": 0.56, "substantia_nigra": 1.0, "dentate": 1.8,
}  # fmt: skip
"""Volumes of a mean adult of 30 years, women and men averaged, both sides together (modelling choice
rounded from published brain charts, Bethlehem 2022; the intracranial volume likewise; the last four from
anatomical texts, not opened)."""
TISSUES = (
    "csf", "ventricular_csf", "gm", "cerebellar_gm", "wm", "cerebellar_wm", "thalamus", "caudate", "putamen",
    "pallidum", "accumbens", "hippocampus", "amygdala", "red_nucleus", "substantia_nigra", "dentate",
    "brainstem", "arterial_blood", "venous_blood", "skull", "marrow", "fat", "skin", "muscle", "spinal_cord",
    "extracranial_fluid",
)  # fmt: skip
Classify = Callable[[Array, Array, NDArray[np.float64]], Array]
"""(class probabilities (3, n), room (n,), wanted volumes [mm^3]) -> fractions of gm, wm, csf (3, n)."""


def brain_parts(
    t: Template, icv: Array, inside: Array, want: Mapping[str, float], classify: Classify
) -> dict[str, Array]:
    """Return the fractions of everything inside the skull.

    Parameters
    ----------
    t : Template
        Maps.
    icv : ndarray
        Signed distance [mm] to the inner table.
    inside : ndarray
        Intracranial fraction of each voxel.
    want : dict
        Volumes [mm^3] per tissue, in the template's space.
    classify : callable
        Shares the room that is left between cortex, white matter and fluid.
    """
    stem = brain.brainstem(t)
    zone = brain.ventricle_zone(t, signed_distance(t.mask) * -1.0)
    parts = small_nuclei(t, {"brainstem": stem, "cerebellum": np.zeros_like(stem)}, {**want, "dentate": 0.0})
    del parts["dentate"]
    parts["brainstem"] = stem - parts["red_nucleus"] - parts["substantia_nigra"]
    parts |= nuclei(t, stem, want)
    painted = np.clip(np.add.reduce(list(parts.values())), 0.0, 1.0)

    fluid = np.where(t.mask, np.clip(1.0 - t.gm - t.wm, 0.0, 1.0), inside).astype(np.float32)
    blood = vessels(t, icv, fluid * (1.0 - zone) * (1.0 - painted))
    for name, values in blood.items():
        parts[name] = values * inside * (1.0 - painted) * ~zone
    painted += parts["arterial_blood"] + parts["venous_blood"]
    room = np.asarray(t.mask * np.clip(1.0 - painted, 0.0, 1.0), np.float32)

    parts["ventricular_csf"], rim_wm = brain.ventricle_repair(t, zone, room)
    room = np.where(zone, 0.0, room).astype(np.float32)
    below = brain.cerebellum_zone(t)
    cb_wm = want["cerebellar_wm"] + want["dentate"]
    cb = brain.cerebellum(t, np.asarray(room * below, np.float32), want["cerebellar_gm"], cb_wm)
    parts["cerebellar_gm"], white, cb_csf = cb
    parts["dentate"] = small_nuclei(
        t,
        {"brainstem": np.zeros_like(stem), "cerebellum": white},
        {**dict.fromkeys(want, 0.0), "dentate": want["dentate"]},
    )["dentate"]
    parts["cerebellar_wm"] = white - parts["dentate"]

    # The average's blurred edge of pons and medulla reads as grey matter: it is fluid.
    around = (signed_distance(stem > 0.5) < 3.0) & (t.z < -18) & ~below
    room = np.where(around, 0.0, room).astype(np.float32)
    where = (room > 0) & ~below
    p = np.stack([t.gm[where], t.wm[where], np.clip(1.0 - t.gm[where] - t.wm[where], 0.0, 1.0)])
    wm = want["wm"] - float(rim_wm.sum(dtype=np.float64))
    left = float(room[where].sum(dtype=np.float64))
    classes = classify(p, room[where], np.array([want["gm"], wm, left - want["gm"] - wm]))
    for name, values in zip(("gm", "wm", "csf"), classes, strict=True):
        parts[name] = np.zeros(t.x.shape, np.float32)
        parts[name][where] = values
    parts["wm"] += rim_wm
    filled = np.add.reduce(list(parts.values())) + cb_csf
    parts["csf"] += cb_csf + np.clip(inside - filled, 0.0, 1.0)
    return parts


def with_shells(parts: dict[str, Array], layers: Mapping[str, Array]) -> dict[str, Array]:
    """Add the tissues outside the brain in the room that is left, in the order of `TISSUES`."""
    filled = np.add.reduce(list(parts.values()))
    for name, values in layers.items():
        parts[name] = np.minimum(values, 1.0 - filled).clip(0.0, 1.0).astype(np.float32)
        filled += parts[name]
    return {k: parts[k] for k in TISSUES}


def quantise(parts: Mapping[str, Array], levels: int = 255) -> dict[str, NDArray[np.uint8]]:
    """Round to 1/levels so that the sum of each voxel is rounded too and never exceeds `levels`."""
    out: dict[str, NDArray[np.uint8]] = {}
    running = np.zeros(next(iter(parts.values())).shape, np.float64)
    before = np.zeros(running.shape, np.int16)
    for name, values in parts.items():
        running += values
        now = np.minimum(np.rint(running * levels), levels).astype(np.int16)
        out[name] = (now - before).astype(np.uint8)
        before = now
    return out


def save(
    path: Path, parts: Mapping[str, Array], scale: float, lower: tuple[int, int, int], origin: str
) -> None:
    """Round, write and report a head.

    Parameters
    ----------
    path : Path
        File to write.
    parts : dict
        Fraction per tissue.
    scale : float
        Head millimetres per millimetre of the built grid.
    lower : tuple of int
        First voxel centre of the built grid [mm].
    origin : str
        What it was derived from.
    """
    codes = quantise(parts, LEVELS)
    affine = np.diag([scale * 1e-3] * 3 + [1.0])
    affine[:3, 3] = np.asarray(lower) * scale * 1e-3
    notice = (DATA / "NOTICE-MNI.txt").read_text(encoding="utf-8")
    write_head_file(path, codes, affine=affine, levels=LEVELS, notice=notice, origin=origin)
    for name, values in codes.items():
        print(f"{name:20s} {values.sum(dtype=np.float64) / LEVELS * scale**3 / 1e3:9.2f} mL")
    print(f"linear scale {scale:.4f}, {path.stat().st_size / 1e6:.2f} MB")
