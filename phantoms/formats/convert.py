"""Writing of phantoms in any format that is written, and what each of them loses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..cloud import PointCloud
from ..gridding import phantom_from_cloud
from ..phantom import Phantom, PhantomError
from ..voxels import cloud_from_phantom
from .bifti_write import phantom_losses, write_bifti
from .cloud_file import save_cloud
from .io import save_phantom
from .koma_write import koma_losses, write_koma

Format = Literal["native", "bifti", "koma", "koma-0.9.0"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, Format] = {".h5": "native", ".hdf5": "native", ".json": "bifti", ".phantom": "koma"}


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written.

    Attributes
    ----------
    format : str
        Format of the file.
    kind : {'phantom', 'cloud'}
        Whether the content has tissues on a grid or points.
    lost : tuple of str
        What of the input the file does not hold, one line each.
    notes : tuple of str
        What a person should know besides.
    """

    format: Format
    kind: Literal["phantom", "cloud"]
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def format_of(path: str | Path, asked: str | None = None) -> Format:
    """Return the format to write: the one asked for, or the one of the suffix.

    Raises
    ------
    PhantomError
        If neither is known.
    """
    if asked is not None:
        for known in FORMATS:
            if asked == known:
                return known
        raise PhantomError(f"format must be one of {', '.join(FORMATS)}; got {asked!r}.")
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise PhantomError(
            f"{path}: the suffix must be one of {', '.join(SUFFIXES)} to tell the format; got {suffix!r}. "
            "Give another name or the format itself."
        )
    return SUFFIXES[suffix]


def write_phantom_file(
    path: str | Path, source: Phantom | PointCloud, *, format: str | None = None, b0: float | None = None
) -> Written:
    """Write a phantom or a point cloud in a format.

    ``native`` keeps everything. A cloud that is of tissues (`phantom_from_cloud`) is written as a phantom,
    for both engines, any other one as a cloud, for the exact engine. ``bifti`` and ``koma`` hold one field
    strength and lose what `Written.lost` names; ``koma-0.9.0`` is KomaMRI's format with the time types before
    0.9.1.

    Parameters
    ----------
    path : str or Path
        Target; an existing file is replaced.
    source : Phantom or PointCloud
        What to write.
    format : {'native', 'bifti', 'koma', 'koma-0.9.0'}, optional
        By the suffix of the path if absent: .h5, .json, .phantom.
    b0 : float, optional
        Field strength [T] at which a phantom is written to a format of one field; 3 T by default.

    Returns
    -------
    Written
        Format, kind and losses.

    Raises
    ------
    PhantomError
        If the format is unknown or cannot hold the object at all.
    """
    kind = format_of(path, format)
    if isinstance(source, PointCloud) and source.b0 is None and b0 is not None:
        source = source.replace({"b0": b0})
    if kind == "native":
        return _native(path, source)
    notes = oddities(source)
    if isinstance(source, Phantom):
        b0, notes = _field_of(source, b0)
    if kind == "bifti":
        lost = (*_lost_before(source), *write_bifti(path, source, b0=b0))
        return Written(format=kind, kind="phantom", lost=lost, notes=notes)
    return _koma(path, source, kind, b0, notes)


def oddities(source: Phantom | PointCloud) -> tuple[str, ...]:
    """Return what is allowed in a file but rarely meant, one line each: T2 above T1."""
    if isinstance(source, Phantom):
        return ()  # its tissue table refuses them
    above = int(np.count_nonzero(source.t2 > source.t1))
    return (f"T2 exceeds T1 at {above:,} of {source.size:,} points",) if above else ()


def _field_of(phantom: Phantom, asked: float | None) -> tuple[float, tuple[str, ...]]:
    held = phantom.provenance.get("values_hold_at_t")
    if isinstance(held, (int, float)):
        if asked is not None and asked != held:
            raise PhantomError(
                f"b0 must be {held} T, where the values of {phantom.name!r} hold; got {asked} T."
            )
        return float(held), ()
    if asked is None:
        return 3.0, ("values are those at 3 T; ask for another field strength to have its values",)
    return asked, ()


def _native(path: str | Path, source: Phantom | PointCloud) -> Written:
    if isinstance(source, Phantom):
        save_phantom(path, source)
        return Written(format="native", kind="phantom", lost=_lost_before(source))
    try:
        phantom = phantom_from_cloud(source)
    except PhantomError as error:
        save_cloud(path, source)
        return Written(
            format="native", kind="cloud", lost=_lost_before(source),
            notes=(
                f"kept as a cloud of points, which the exact engine (--engine bloch) takes: {error}",
                *oddities(source),
            ),
        )  # fmt: skip
    save_phantom(path, phantom)
    notes = ["became a phantom of tissues; densities are kept to single precision (6e-8)"]
    scale = abs(np.linalg.det(source.voxel)) if source.voxel is not None else 0.0
    if not np.isclose(source.signal_scale, scale, rtol=1e-6):
        notes.append("the scale of the signal becomes the integral of the density over space")
    return Written(format="native", kind="phantom", lost=_lost_before(source), notes=tuple(notes))


def _lost_before(source: Phantom | PointCloud) -> tuple[str, ...]:
    """Return what the reader of the source could not keep."""
    found = (source.provenance if isinstance(source, Phantom) else source.source).get("lost", ())
    return tuple(str(line) for line in found) if isinstance(found, (list, tuple)) else ()


def _koma(
    path: str | Path, source: Phantom | PointCloud, kind: Format, b0: float | None, notes: tuple[str, ...]
) -> Written:
    lost = _lost_before(source)
    if isinstance(source, Phantom):
        assert b0 is not None
        lost = (*lost, *phantom_losses(source, b0))
        source = cloud_from_phantom(source, b0)
        source = source.select(source.m0 > 0)
    lost = (*lost, *koma_losses(source))
    bare = source.replace({"b1": np.ones((1, 1)), "sensitivity": None, "bound": None})
    write_koma(path, bare, times="range" if kind == "koma-0.9.0" else "curve")
    return Written(format=kind, kind="cloud", lost=lost, notes=notes)
