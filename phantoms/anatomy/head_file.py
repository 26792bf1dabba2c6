"""The packed files of the heads: which tissues a voxel holds, and how much of each.

Most voxels hold one tissue. Dataset ``label_0`` names the tissue that fills most of each voxel, ``label_1``
the next one where there is one, and so on; ``amount_1``, ... list the fractions of those, in steps of
1/levels. The first tissue has the rest. Air counts as a tissue here (0), so that every voxel is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NONE = 255
"""Label of a voxel without a further tissue."""
Box = tuple[slice, slice, slice]
Codes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadFile:
    """A packed head.

    Attributes
    ----------
    tissues : tuple of str
        Names.
    parts : tuple of (Box, ndarray)
        Per tissue, the part of the grid that it reaches and its codes there, uint8.
    levels : int
        Code of a full voxel.
    shape : tuple of int
        Voxels along x, y, z.
    affine : ndarray, shape (4, 4)
        Voxel index -> world RAS+ [m].
    notice, origin : str
        What must travel with the data, and what they were derived from.
    """

    tissues: tuple[str, ...]
    parts: tuple[tuple[Box, Codes], ...]
    levels: int
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    notice: str
    origin: str


def pack(codes: Mapping[str, Codes], levels: int) -> tuple[list[Codes], list[Codes]]:
    """Return labels and amounts per rank; what a voxel lacks to `levels` is air."""
    stack = np.stack([np.zeros_like(next(iter(codes.values()))), *codes.values()])
    stack[0] = levels - stack.sum(axis=0, dtype=np.int32)
    rest = stack.reshape(len(stack), -1)
    labels: list[Codes] = []
    amounts: list[Codes] = []
    while True:
        best = rest.argmax(axis=0)
        amount = np.take_along_axis(rest, best[None], axis=0)[0]
        if not amount.any():
            return labels, amounts
        labels.append(np.where(amount > 0, best, NONE).astype(np.uint8).reshape(stack.shape[1:]))
        amounts.append(amount[amount > 0])
        np.put_along_axis(rest, best[None], 0, axis=0)


def write_head_file(
    path: Path,
    codes: Mapping[str, Codes],
    *,
    affine: NDArray[np.float64],
    levels: int,
    notice: str,
    origin: str,
) -> None:
    """Write codes per tissue, whose sum per voxel is at most `levels`."""
    import h5py

    labels, amounts = pack(codes, levels)
    temporary = path.with_suffix(".h5.tmp")
    options = {"compression": "gzip", "compression_opts": 9, "track_times": False}
    with h5py.File(temporary, "w") as f:
        f.attrs["notice"], f.attrs["origin"] = notice, origin
        f.attrs["affine"], f.attrs["levels"] = affine, levels
        f.attrs["tissues"] = list(codes)
        f.attrs["layout"] = str(__doc__).strip()
        for rank, (label, amount) in enumerate(zip(labels, amounts, strict=True)):
            f.create_dataset(f"label_{rank}", data=label, **options)
            if rank:
                f.create_dataset(f"amount_{rank}", data=amount, **options)
    temporary.replace(path)


def read_head_file(path: Path) -> HeadFile:
    """Read a packed head."""
    import h5py

    with h5py.File(path, "r") as f:
        tissues = tuple(str(n) for n in f.attrs["tissues"])
        levels = int(f.attrs["levels"])
        affine = np.asarray(f.attrs["affine"], float)
        notice, origin = str(f.attrs["notice"]), str(f.attrs["origin"])
        ranks = sum(1 for name in f if name.startswith("label_"))
        labels = [f[f"label_{r}"][()] for r in range(ranks)]
        lists = [f[f"amount_{r}"][()] for r in range(1, ranks)]
    first = np.full(labels[0].shape, levels, np.uint8)
    amounts = [first]
    for label, values in zip(labels[1:], lists, strict=True):
        amount = np.zeros(label.shape, np.uint8)
        amount[label != NONE] = values
        first -= amount
        amounts.append(amount)
    nx, ny, nz = labels[0].shape
    return HeadFile(
        tissues=tissues,
        parts=tuple(_unpack(labels, amounts, len(tissues))),
        levels=levels,
        shape=(nx, ny, nz),
        affine=affine,
        notice=notice,
        origin=origin,
    )


def _unpack(labels: list[Codes], amounts: list[Codes], count: int) -> list[tuple[Box, Codes]]:
    """Codes of every tissue within its bounding box."""
    # find_objects knows label k as k - 1: air is 0 and no object, tissue n has label n + 1.
    found = [ndimage.find_objects(label, max_label=count) for label in labels]
    out: list[tuple[Box, Codes]] = []
    for n in range(count):
        boxes = [f[n] for f in found if f[n] is not None]
        span = [
            slice(min((b[a].start for b in boxes), default=0), max((b[a].stop for b in boxes), default=0))
            for a in range(3)
        ]
        box = (span[0], span[1], span[2])
        data = np.zeros(labels[0][box].shape, np.uint8)
        for label, amount in zip(labels, amounts, strict=True):
            np.copyto(data, amount[box], where=label[box] == n + 1)
        out.append((box, data))
    return out
