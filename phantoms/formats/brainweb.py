"""BrainWeb anatomies: header-less raw volumes and MINC files, discrete or fuzzy.

BrainWeb's volumes are read from the user's own disk. No grant to pass them on is known, so nothing made of
them is part of this package.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..file_error import PhantomFileError
from ..phantom import Phantom, PhantomError
from ..tissue_file import default_tissue_table
from ..tissues import TissueProperties, TissueTable
from .brainweb_volumes import TWENTY, averaged, coarser, fraction_of, labels_of, read_volume

LICENCE = "LicenseRef-BrainWeb: no grant to redistribute is known; do not pass this file on"
SOURCE = "BrainWeb, https://brainweb.bic.mni.mcgill.ca (Collins 1998; Aubert-Broche 2006)"
VALUES = "BrainWeb's own values at 1.5 T, as read in public copies"
_NAME = re.compile(
    r"(?P<stem>.*?)_?(?P<kind>crisp|bck|csf|gry|gm|wht|wm|fat2|fat|m\+s|m-s|mus|skn|skl|gli|mit|wml|les|ves|dura|mrw)"
    r"(?P<end>_v|_)?\.(?P<ext>rawb|raws|raw|i8|i16|mnc|minc)(?P<gz>\.gz)?",
    re.IGNORECASE,
)


_KINDS = {
    "csf": "csf", "gry": "gm", "gm": "gm", "wht": "wm", "wm": "wm", "fat": "fat", "m+s": "muscle_skin",
    "m-s": "muscle_skin", "mus": "muscle", "skn": "skin", "skl": "skull", "gli": "glial",
    "mit": "connective", "wml": "ms_lesion", "les": "ms_lesion", "ves": "vessels", "fat2": "around_fat",
    "dura": "dura", "mrw": "marrow",
}  # fmt: skip

# name: like (a tissue of ours whose susceptibility and shift it takes), T1, T2, T2* [ms], PD
_TISSUES: dict[str, tuple[str, float, float, float, float]] = {
    "csf": ("csf", 2569, 329, 58, 1.0),
    "gm": ("gm", 833, 83, 69, 0.86),
    "wm": ("wm", 500, 70, 61, 0.77),
    "fat": ("fat", 350, 70, 58, 1.0),
    "muscle_skin": ("muscle", 900, 47, 30, 1.0),
    "skin": ("skin", 2569, 329, 58, 1.0),  # BrainWeb's placeholder, equal to fluid
    "skull": ("skull", np.inf, np.inf, np.inf, 0.0),
    "glial": ("gm", 833, 83, 69, 0.86),
    "connective": ("skin", 500, 70, 61, 0.77),
    "ms_lesion": ("wm", 752, 237, 204, 0.76),
    # Only in the twenty anatomies, of which BrainWeb gives no values: brainweb-dl's means.
    "muscle": ("muscle", 1050, 50, 30, 1.0),
    "vessels": ("blood", 1750, 200, 20, 1.0),
    "around_fat": ("fat", 350, 70, 58, 1.0),
    "dura": ("skin", 700, 150, 50, 1.0),
    "marrow": ("marrow", 225, 75, 50, 1.0),
}


def brainweb_tissues() -> TissueTable:
    """Return BrainWeb's tissue values: 1.5 T, held at every field; far below modern T1 values."""
    ours = default_tissue_table()
    rows = []
    for name, (like, t1, t2, t2_star, pd) in _TISSUES.items():
        near = ours.at(like, 1.5)
        rows.append(
            TissueProperties(
                name=name,
                t1=t1 * 1e-3,
                t2=t2 * 1e-3,
                t2_prime=np.inf if np.isinf(t2) else 1e-3 / (1 / t2_star - 1 / t2),
                pd=pd,
                chi=near.chi,
                adc=near.adc,
                shift_ppm=near.shift_ppm,
                sources={"t1": VALUES, "t2": VALUES, "t2star": VALUES, "pd": VALUES, "chi": f"as {like!r}"},
                verified=False,
            )
        )
    return TissueTable.uniform(*rows)


def is_brainweb(path: Path) -> bool:
    """Return whether a file is named as BrainWeb names its volumes, or a folder holds such files."""
    if path.is_dir():
        return any(_NAME.fullmatch(p.name) for p in path.iterdir())
    return _NAME.fullmatch(path.name) is not None


def read_brainweb(
    path: str | Path, *, coarsen: int | None = None, shape: tuple[int, int, int] | None = None
) -> Phantom:
    """Read a BrainWeb anatomy.

    A discrete volume (``*_crisp.*``) gives one tissue per label. A fuzzy volume (``*_gry.*``, ``*_csf.*``)
    stands for all those beside it with the same start of the name; fractions are rounded as the files are
    and divided by their sum where that exceeds 1. Raw volumes (.rawb, .raws, with or without .gz) have x
    fastest; which release they are of follows from their size. Raw bytes of the twenty anatomies are offset
    by 128; raw shorts are scaled to 0..4095. MINC files (.mnc, 1 and 2) say it themselves.

    Parameters
    ----------
    path : str or Path
        A volume, or the folder of one anatomy.
    coarsen : int, optional
        Edge of the cubes of voxels that are averaged into one; 1 for the first anatomy and 2 for the twenty
        by default (at 0.5 mm their fractions take 2.5 GB).
    shape : tuple of int, optional
        Voxels along x, y, z of raw volumes that were cropped; on the grid of the 1 mm anatomy from its first
        voxel on.

    Returns
    -------
    Phantom
        With `brainweb_tissues` and the licence of the data in its provenance.

    Raises
    ------
    PhantomFileError
        With the file, if a volume is missing, damaged or of another size.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if coarsen is not None and not 1 <= coarsen <= 16:
        raise PhantomError(f"coarsen must be 1..16; got {coarsen}.")
    chosen = _chosen(path)
    if "crisp" in chosen:
        names, maps, affine = _discrete(chosen["crisp"], coarsen, shape)
    else:
        names, maps, affine = _fuzzy(chosen, coarsen, shape)
    if not maps:
        raise PhantomFileError(f"{path}: at least one voxel must be of a tissue; all are background.")
    fractions = np.stack(maps)
    total = fractions.sum(axis=0)
    fractions /= np.maximum(total, 1.0)
    table = brainweb_tissues()
    return Phantom(
        name=_stem(next(iter(chosen.values()))) or "brainweb",
        tissues=tuple(names),
        fractions=fractions,
        affine=affine,
        table=TissueTable(curves={n: table.curves[n] for n in names}),
        provenance={
            "format": "brainweb",
            "files": sorted(p.name for p in chosen.values()),
            "source": SOURCE,
            "licence": LICENCE,
        },
    )


def _stem(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    return match["stem"] if match else path.stem


def _chosen(path: Path) -> dict[str, Path]:
    """Return the volumes of one anatomy by kind."""
    if not path.exists():
        raise FileNotFoundError(f"phantom file {path} must exist; nothing found there.")
    folder = path if path.is_dir() else path.parent
    match = None if path.is_dir() else _NAME.fullmatch(path.name)
    if match and match["kind"].lower() == "crisp":
        return {"crisp": path}
    if match is None and not path.is_dir():
        raise PhantomFileError(
            f"{path}: a BrainWeb volume must be named like phantom_1.0mm_normal_crisp.rawb or "
            f"subject04_gry.rawb.gz, by its tissue and kind of file; got {path.name!r}."
        )
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for other in sorted(folder.iterdir()):
        if named := _NAME.fullmatch(other.name):
            key = named["stem"].lower(), named["ext"].lower()
            found.setdefault(key, {})[named["kind"].lower()] = other
    if match:
        fuzzy = found[match["stem"].lower(), match["ext"].lower()]
        return {k: p for k, p in fuzzy.items() if k not in ("crisp", "bck")} or _nothing(path)
    if len(found) != 1:
        raise PhantomFileError(
            f"{path}: a folder must hold the volumes of one BrainWeb anatomy; got {len(found)}. Name a file."
        )
    (volumes,) = found.values()
    fuzzy = {k: p for k, p in volumes.items() if k not in ("crisp", "bck")}
    return fuzzy or ({"crisp": volumes["crisp"]} if "crisp" in volumes else _nothing(path))


def _nothing(path: Path) -> dict[str, Path]:
    raise PhantomFileError(f"{path}: a BrainWeb anatomy must have tissues; got its background only.")


def _discrete(
    path: Path, coarsen: int | None, shape: tuple[int, int, int] | None
) -> tuple[list[str], list[NDArray[np.float32]], NDArray[np.float64]]:
    codes, affine, release = read_volume(path, shape)
    labels = labels_of(path, codes, release)
    names, maps = [], []
    edge = coarsen or (2 if release is TWENTY else 1)
    for number in range(1, len(release.labels)):
        if (mask := labels == number).any():
            names.append(release.labels[number])
            maps.append(averaged(mask.astype(np.float32), edge))
    return names, maps, coarser(affine, edge)


def _fuzzy(
    chosen: dict[str, Path], coarsen: int | None, shape: tuple[int, int, int] | None
) -> tuple[list[str], list[NDArray[np.float32]], NDArray[np.float64]]:
    names: list[str] = []
    maps: list[NDArray[np.float32]] = []
    grid: tuple[tuple[int, ...], NDArray[np.float64]] | None = None
    for kind, path in chosen.items():
        codes, affine, release = read_volume(path, shape)
        if grid is None:
            grid = codes.shape, affine
        elif codes.shape != grid[0] or not np.allclose(affine, grid[1]):
            raise PhantomFileError(
                f"{path}: must lie on the grid {grid[0]} of the others; got {codes.shape}."
            )
        edge = coarsen or (2 if release is TWENTY else 1)
        part = averaged(fraction_of(path, codes, kind), edge)
        if (name := _KINDS[kind]) in names:
            maps[names.index(name)] += part
        elif part.any():
            names.append(name)
            maps.append(part)
    assert grid is not None
    return names, maps, coarser(grid[1], edge)
