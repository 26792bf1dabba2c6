"""Frames of the XCAT phantom as MRXCAT uses them: a volume of organ codes and its log file.

XCAT volumes are read from the user's own disk; their licence does not allow passing them on.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..file_error import PhantomFileError, present_file
from ..phantom import Phantom
from ..tissue_file import default_tissue_table
from ..tissues import TissueProperties, TissueTable

LICENCE = "XCAT: non-commercial, no redistribution of the phantom or of what is derived from it"
VALUES = "MRXCAT's values for cine scans (Wissmann 2014); T2: modelling choice near literature at 1.5 T"
MAX_VOXELS = 1024**3
MAX_LOG = 16 * 1024**2
MAX_CODES = 4096
_FRAME = re.compile(r"(?P<case>.+)_act_(?P<frame>\d+)\.bin")
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"

# name: like (tissue of ours), T1, T2 [ms], PD
_TISSUES: dict[str, tuple[str, float, float, float]] = {
    "muscle": ("muscle", 800, 50, 0.80),
    "fat": ("fat", 350, 70, 0.70),
    "blood": ("blood", 1200, 150, 0.95),
    "liver": ("muscle", 800, 50, 0.90),
    "bone": ("skull", 250, 20, 0.12),
}
_ORGANS = (
    (re.compile(r"(hrt_)?myo(LV|RV|LA|RA)|(pap_)?muscle|.*papillary.*"), "muscle"),
    (re.compile(r"(hrt_)?bldpl(LV|RV|LA|RA)|.*_(art|vein)|.*blood.*|aorta|vein|artery"), "blood"),
    (re.compile(r"body|pericardium"), "fat"),
    (re.compile(r"liver"), "liver"),
    (re.compile(r"rib|cortical_bone|spine|bone_marrow"), "bone"),
)


def xcat_tissues() -> TissueTable:
    """Return the values of the tissues that MRXCAT gives a signal, held at every field."""
    ours = default_tissue_table()
    rows = []
    for name, (like, t1, t2, pd) in _TISSUES.items():
        near = ours.at(like, 1.5)
        rows.append(
            TissueProperties(
                name=name, t1=t1 * 1e-3, t2=t2 * 1e-3, pd=pd, chi=near.chi, adc=near.adc,
                shift_ppm=near.shift_ppm, sources={"t1": VALUES, "t2": VALUES, "pd": VALUES}, verified=False,
            )
        )  # fmt: skip
    return TissueTable.uniform(*rows)


def is_xcat(path: Path) -> bool:
    """Return whether a file is named like a frame of XCAT, ``<case>_act_<frame>.bin``."""
    return _FRAME.fullmatch(path.name) is not None


def read_xcat(path: str | Path) -> Phantom:
    """Read one frame of an XCAT phantom, as MRXCAT maps its organs to tissues.

    ``<case>_act_<frame>.bin`` holds little-endian float32 codes, x fastest; ``<case>_log`` beside it gives
    the array size, the widths of pixels and slices [cm], the first and last slice and the code of each organ.
    Myocardium and muscle, blood pools and vessels, body and pericardium (fat), liver, and bone become
    tissues; other organs have no signal in MRXCAT and stay empty, named in ``provenance["lost"]``. The file's
    x runs to the left and its y to the back (XCAT's convention; not checked against a subject), z to the
    head; the middle of the volume becomes the origin.

    Parameters
    ----------
    path : str or Path
        The frame.

    Returns
    -------
    Phantom
        Discrete fractions with the table `xcat_tissues`.

    Raises
    ------
    PhantomFileError
        With file and field, if the frame or its log is not as it must be.
    FileNotFoundError
        If the frame or its log is absent.
    """
    path = Path(path)
    match = _FRAME.fullmatch(path.name)
    if match is None:
        raise PhantomFileError(f"{path}: a frame must be named '<case>_act_<frame>.bin'; got {path.name!r}.")
    log = path.with_name(f"{match['case']}_log")
    for needed in (path, log):
        present_file(needed)
    shape, spacing, organs = _log(log)
    codes = _codes(path, shape)
    names, maps, lost = _tissues(path, codes, organs)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    table = xcat_tissues()
    return Phantom(
        name=path.name.removesuffix(".bin"),
        tissues=tuple(names),
        fractions=np.stack(maps)[:, ::-1, ::-1],  # to the right and to the front: RAS order
        affine=affine,
        table=TissueTable(curves={n: table.curves[n] for n in names}),
        provenance={
            "format": "xcat",
            "files": [path.name, log.name],
            "source": "XCAT (Segars 2010), MRXCAT tissues",
            "licence": LICENCE,
            "lost": lost,
        },
    )


def _log(path: Path) -> tuple[tuple[int, int, int], NDArray[np.float64], dict[str, float]]:
    """Return grid, spacing [m] and code per organ."""
    if path.stat().st_size > MAX_LOG:
        raise PhantomFileError(f"{path}: a log must be smaller than {MAX_LOG >> 20} MiB.")
    text = path.read_text(encoding="utf-8", errors="replace")

    def number(words: str) -> float:
        found = re.search(rf"^\W*{words}\b[^=:\n]*[=:]\s*{_NUMBER}", text, re.MULTILINE | re.IGNORECASE)
        if found is None:
            raise PhantomFileError(f"{path}: must tell '{words.replace(chr(92) + 's+', ' ')}'; it does not.")
        return float(found[1])

    size = int(number("array_size"))
    first, last = (int(number(rf"{w}\s+slice\s+number")) for w in ("starting", "ending"))
    shape = size, size, last - first + 1
    width, thickness = number(r"pixel\s+width"), number(r"slice\s+width")
    if size < 1 or shape[2] < 1 or size * size * shape[2] > MAX_VOXELS or not (width > 0 and thickness > 0):
        raise PhantomFileError(
            f"{path}: array_size, slice numbers and widths must describe at most {MAX_VOXELS} voxels; "
            f"got {shape} of {width} x {thickness} cm."
        )
    organs = {
        name: float(value)
        for name, value in re.findall(rf"^\s*(\w+?)_act(?:ivity)?\s*=\s*{_NUMBER}", text, re.MULTILINE)
    }
    if not organs:
        raise PhantomFileError(f"{path}: must give codes of organs (myoLV_act = 1, ...); none found.")
    return shape, np.array([width, width, thickness]) * 1e-2, organs


def _codes(path: Path, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    wanted = int(np.prod(shape)) * 4
    if (size := path.stat().st_size) != wanted:
        raise PhantomFileError(
            f"{path}: must hold {wanted} bytes, float32 of shape {shape} as its log says; got {size}."
        )
    codes = np.fromfile(path, "<f4").reshape(shape[::-1]).transpose(2, 1, 0)
    if not np.isfinite(codes).all():
        raise PhantomFileError(f"{path}: codes must be finite; some are not.")
    return codes


def _tissues(
    path: Path, codes: NDArray[np.float32], organs: dict[str, float]
) -> tuple[list[str], list[NDArray[np.float32]], list[str]]:
    present = np.unique(codes)
    present = present[present != 0]
    if present.size > MAX_CODES:
        raise PhantomFileError(
            f"{path}: must hold at most {MAX_CODES} organ codes; got {present.size} different values. "
            "Is it an attenuation file (_atn_)?"
        )
    meant: dict[str, list[float]] = {}
    lost: list[str] = []
    for name, code in organs.items():
        if code == 0 or not np.isclose(present, code, rtol=1e-6).any():
            continue
        tissue = next((t for pattern, t in _ORGANS if pattern.fullmatch(name)), None)
        if tissue is None:
            lost.append(f"{name} (no MR values)")
        else:
            meant.setdefault(tissue, []).append(code)
    known = np.array([c for values in meant.values() for c in values])
    if not known.size:
        raise PhantomFileError(
            f"{path}: must hold codes of organs with MR values; got {present[:10].tolist()}."
        )
    masks = {
        t: np.isin(codes, [c for c in present if np.isclose(c, values, rtol=1e-6).any()])
        for t, values in meant.items()
    }
    taken = np.zeros(codes.shape, bool)
    maps = []
    for mask in masks.values():  # organs that share a code belong to the first tissue named
        maps.append((mask & ~taken).astype(np.float32))
        taken |= mask
    return list(masks), maps, lost
