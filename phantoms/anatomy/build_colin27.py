"""Build the packaged Colin27 head: ``python -m phantoms.anatomy.build_colin27 CH2 SRC_DIR``.

`CH2` is ``usr/share/mricron/templates/ch2.nii.gz`` of the Debian package mricron-data 1.2.20211006+dfsg-4
(``apt-get download mricron-data``, ``dpkg-deb -x``), an average of 27 scans of one man in MNI space.
`SRC_DIR` has the three ICBM 152 2009a maps that serve as spatial priors. Inputs are checked by their SHA-256.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from . import _shells as shell
from ._build_brain import Template
from ._build_colin import Mask, brain_mask, real_shells, segment
from ._build_head import DATA, ICV_ML, TARGETS_ML, brain_parts, save, with_shells
from ._shapes import Array, soft

HEAD_FILE = DATA / "colin27_head.h5"
LOWER, UPPER = (-94, -130, -104), (94, 104, 112)
"""First and last voxel centre of the built grid [mm]."""
SEED = 27
CHECKSUMS = {
    "ch2.nii.gz": "a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309",
    "gm": "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed",
    "t1": "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
    "wm": "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db",
}
"""SHA-256 of the inputs."""


def checked(path: Path, key: str) -> Path:
    """Return the path if the file is the one this build was made for."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != CHECKSUMS[key]:
        raise SystemExit(
            f"{path} must have the SHA-256 {CHECKSUMS[key]}; got {found}. Use the named version."
        )
    return path


def placed(path: Path, mode: str) -> tuple[Array, Mask]:
    """Read a 1 mm map onto the built grid; beyond its field of view zeros, or the border ("edge").

    Returns
    -------
    image : ndarray
        Values.
    seen : ndarray of bool
        Its field of view.
    """
    import nibabel as nib

    image = nib.load(path)
    data = np.asarray(image.dataobj, np.float32)
    origin = np.rint(image.affine[:3, 3]).astype(int)
    cut, pad = [], []
    for a in range(3):
        low, high = LOWER[a] - int(origin[a]), UPPER[a] - int(origin[a]) + 1
        cut.append(slice(max(low, 0), min(high, data.shape[a])))
        pad.append((max(-low, 0), max(high - data.shape[a], 0)))
    part = data[tuple(cut)]
    filled = np.pad(part, pad, mode="edge") if mode == "edge" else np.pad(part, pad)
    return filled, np.pad(np.ones(part.shape, bool), pad)


def load(ch2: Path, source: Path) -> tuple[Template, Array, Mask]:
    """Read the inputs, segment the brain; return template, whole-head image and its field of view."""
    image, seen = placed(checked(ch2, "ch2.nii.gz"), "edge")
    below = ~seen.any(axis=(0, 1)) & (np.arange(seen.shape[2]) < seen.shape[2] // 2)
    # The repeated last plane keeps the tissues of the cut, not their outlines.
    image[:, :, below] = ndimage.gaussian_filter(image[:, :, below], (4.0, 4.0, 0.0))
    maps = {}
    for key in ("gm", "wm", "t1"):
        name = f"mni_icbm152_{key}_tal_nlin_sym_09a_converted.nii.gz"
        maps[key] = placed(checked(source / name, key), "zero")[0]
    prior_mask = np.asarray(ndimage.binary_fill_holes(maps["t1"] > 0))
    mask = brain_mask(image, prior_mask)
    gm, wm = (ndimage.gaussian_filter(maps[k] / 255.0 * prior_mask, 2.5) for k in ("gm", "wm"))
    priors = np.stack([np.clip(1.0 - gm - wm, 0.0, 1.0), gm, wm]).astype(np.float32)
    posterior, t1 = segment(image, mask, priors)
    axes = [np.arange(lo, up + 1, dtype=np.float32) for lo, up in zip(LOWER, UPPER, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    template = Template(gm=posterior[1], wm=posterior[2], t1=t1, mask=mask, x=x, y=y, z=z)
    return template, image, seen


def as_segmented(p: Array, room: Array, targets: NDArray[np.float64]) -> Array:
    """Share the room by the class probabilities: one person's image needs no sharpening to volumes."""
    return np.asarray(p * (room / np.maximum(p.sum(axis=0), 1e-6)), np.float32)


def build(t: Template, image: Array, seen: Mask) -> tuple[dict[str, Array], float]:
    """Return the fraction per tissue and the linear scale template -> mean adult."""
    icv = shell.intracranial_distance(t.mask, np.random.default_rng(SEED))
    inside = np.maximum(soft(icv), t.mask).astype(np.float32)
    scale3 = ICV_ML * 1e3 / float(inside.sum(dtype=np.float64))
    want = {k: v * 1e3 / scale3 for k, v in TARGETS_ML.items()}
    parts = brain_parts(t, icv, inside, want, as_segmented)
    return with_shells(parts, real_shells(t, icv, image, seen)), scale3 ** (1 / 3)


def main() -> None:
    """Build the packaged head file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ch2", type=Path, help="ch2.nii.gz of mricron-data")
    parser.add_argument("source", type=Path, help="folder with the three ICBM 152 2009a maps")
    parser.add_argument("--out", type=Path, default=HEAD_FILE)
    args = parser.parse_args()
    parts, scale = build(*load(args.ch2, args.source))
    save(
        args.out,
        parts,
        scale,
        LOWER,
        "derived from Colin27 (ch2.nii.gz of Debian mricron-data 1.2.20211006+dfsg-4); see notice",
    )


if __name__ == "__main__":
    main()
