"""Three planes through a phantom as a picture: tissues, T1, T2 and proton density."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .cloud import PointCloud
from .phantom import Phantom, PhantomError
from .sheet import BACKGROUND, Sheet
from .slices import Volume, volume_of


def phantom_picture(
    path: str | Path,
    source: Phantom | PointCloud,
    *,
    b0: float = 3.0,
    at: tuple[float, float, float] | None = None,
    dpi: int = 150,
) -> None:
    """Draw axial, coronal and sagittal planes of the tissues, T1, T2 and proton density to a PNG file.

    Colours of tissues mix by their fractions. Times come from mean rates weighted by proton density and are
    coloured on a logarithmic scale where they span more than a factor of four. The left of a picture is the
    left of the object; letters name the directions. The file appears under its name only when complete.

    Parameters
    ----------
    path : str or Path
        The PNG file.
    source : Phantom or PointCloud
        What to draw; points that lie on no grid are sorted into cubes.
    b0 : float
        Field strength [T] of the values of a phantom; a cloud has those of its own field.
    at : tuple of float, optional
        World point [m] that the planes cross; the middle of the brain or of the object by default.
    dpi : int
        Dots per inch; the picture is about 13 inches wide.

    Raises
    ------
    PhantomError
        If the point is outside the object, or the file is not named .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise PhantomError(f"path of a picture must end in .png; got {path.name!r}.")
    volume = volume_of(source, b0)
    cross = volume.middle() if at is None else _voxel(volume, at)
    figure = Sheet(volume, cross).figure(_title(source, volume, b0), _footer(source))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp.png")
    try:
        # Without software and date: the same phantom gives the same bytes.
        figure.savefig(temporary, dpi=dpi, facecolor=BACKGROUND, metadata={"Software": None})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _voxel(volume: Volume, at: tuple[float, float, float]) -> tuple[int, ...]:
    inside = np.linalg.inv(volume.affine) @ np.array([*at, 1.0])
    place = tuple(int(v) for v in np.rint(np.nan_to_num(inside[:3], nan=-1.0, posinf=-1.0, neginf=-1.0)))
    if not all(0 <= p < n for p, n in zip(place, volume.shape, strict=True)):
        raise PhantomError(f"at must lie inside the object; got {[1e3 * v for v in at]} mm.")
    return place


def _title(source: Phantom | PointCloud, volume: Volume, b0: float) -> tuple[str, str]:
    edges = " × ".join(f"{1e3 * e:.3g}" for e in np.linalg.norm(volume.affine[:3, :3], axis=0))
    counts = " × ".join(map(str, volume.shape))
    if isinstance(source, Phantom):
        who = [f"{k} {source.truth[k]!s:.12}" for k in ("age", "sex", "diagnosis") if k in source.truth]
        detail = "  ·  ".join([f"{counts} voxels of {edges} mm", f"values at {b0:g} T", *who])
    else:
        strength = "" if source.b0 is None else f"  ·  values at {source.b0:g} T"
        detail = f"{source.size:,} points on {counts} voxels of {edges} mm{strength}"
    return source.name, detail


def _footer(source: Phantom | PointCloud) -> str:
    origin = source.provenance if isinstance(source, Phantom) else source.source
    parts = [f"{k}: {origin[k]}" for k in ("source", "licence") if origin.get(k)]
    return "  ·  ".join(parts) or ("from " + str(origin["file"]) if origin.get("file") else "")
