"""How two images of one head differ: the numbers that are split into causes.

Both images lie on the analysis grid in the frame of the head. Image measures compare voxels inside the brain,
once with each image divided by its median over white matter (``wm``) and once as they come from the scanners
(``raw``), relative to the reference image's mean square; feature measures are differences in % of the
reference's value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SCALES = ("wm", "raw")
_PURE = (0.95, 0.7, 0.5)
"""Shares of white matter from which a voxel counts as pure: the first that enough voxels reach."""
_ENOUGH = 200


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number that is split into causes: its name, unit, kind and meaning."""

    name: str
    unit: str
    kind: str
    meaning: str


_WORDS = {"wm": "after division by the white-matter median", "raw": "in the scanners' own units"}


def measure_of(name: str) -> Measure:
    """Return what is known of a measure by its name, as ``nmse:wm`` or ``volume:gm``."""
    kind, _, scale = name.partition(":")
    if kind == "nmse":
        text = f"mean squared difference over the reference's mean square, {_WORDS[scale]}"
        return Measure(name=name, unit="1", kind="image", meaning=text)
    if kind == "nrmse":
        text = f"root mean squared difference over the reference's root mean square, {_WORDS[scale]}"
        return Measure(name=name, unit="1", kind="image", meaning=text)
    if kind == "signed":
        text = (
            "projection of the difference image on the one with all causes: negative where a cause makes the "
            f"images more alike, {_WORDS[scale]}"
        )
        return Measure(name=name, unit="1", kind="image", meaning=text)
    text = f"difference of {name.replace(':', ' ').replace('_', ' ')} in % of the reference's"
    return Measure(name=name, unit="%", kind="feature", meaning=text)


def white_matter(fraction: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the voxels of the mask that are (nearly) pure white matter.

    Parameters
    ----------
    fraction : array (x, y, z)
        Share of white matter, 0 to 1.
    mask : bool array (x, y, z)

    Raises
    ------
    ValueError
        When no voxel is mostly white matter.
    """
    import numpy as np

    for least in _PURE:
        pure = mask & (fraction >= least)
        if np.count_nonzero(pure) >= _ENOUGH or (least == _PURE[-1] and pure.any()):
            return np.asarray(pure)
    raise ValueError(
        f"the analysis grid must hold voxels of white matter; got none of {int(mask.sum())}. "
        "Choose smaller voxels."
    )


class ImageMeasures:
    """Compares pairs of images; knows the pair with all causes, which the signed share is projected on.

    Parameters
    ----------
    full : tuple of arrays (x, y, z)
        Reference and other image with all causes on.
    mask : bool array (x, y, z)
        The brain.
    white : bool array (x, y, z)
        Voxels of white matter.
    """

    def __init__(
        self,
        full: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
        mask: np.ndarray[Any, Any],
        white: np.ndarray[Any, Any],
    ) -> None:
        self._mask, self._white = mask, white
        self._full = {scale: self.relative(*full, scale)[1] for scale in SCALES}

    def __call__(self, first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> dict[str, float]:
        """Return all image measures of a pair; nan for a signed share of nothing."""
        found: dict[str, float] = {}
        for scale in SCALES:
            size, change = self.relative(first, second, scale)
            square = float(change @ change) / change.size / size
            whole = self._full[scale]
            energy = float(whole @ whole)
            found[f"nmse:{scale}"] = square
            found[f"nrmse:{scale}"] = math.sqrt(square)
            found[f"signed:{scale}"] = float(change @ whole) / energy if energy > 0.0 else math.nan
        return found

    def relative(
        self, first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], scale: str
    ) -> tuple[float, np.ndarray[Any, Any]]:
        """Return the reference's mean square and the difference inside the brain (voxel,)."""
        import numpy as np

        a, b = (self.scaled(image, scale)[self._mask].astype(np.float64) for image in (first, second))
        return float(np.mean(a**2)), b - a

    def scaled(self, image: np.ndarray[Any, Any], scale: str) -> np.ndarray[Any, Any]:
        """Return an image on a scale: over its own white-matter median, or as it is."""
        import numpy as np

        if scale == "raw":
            return image
        median = float(np.median(image[self._white]))
        if not median > 0.0:
            raise ValueError(f"the median over white matter must be positive; got {median}.")
        return np.asarray(image / np.float32(median))


def feature_differences(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Return the difference of every feature in % of the reference's; nan where that is 0 or missing.

    Ratios of tissue intensities to white matter are added: they do not depend on the scale of the image.
    """
    a, b = with_ratios(first), with_ratios(second)
    return {
        name: 100.0 * (b.get(name, math.nan) - value) / value if value else math.nan
        for name, value in a.items()
    }


def with_ratios(row: Mapping[str, float]) -> dict[str, float]:
    """Return features with ``ratio:gm/wm`` and ``ratio:csf/wm`` of the intensities."""
    white = row.get("intensity:wm", math.nan)
    ratios = {
        f"ratio:{tissue}/wm": row[f"intensity:{tissue}"] / white if white else math.nan
        for tissue in ("gm", "csf")
        if f"intensity:{tissue}" in row
    }
    return {**row, **ratios}


def complete_names(rows: Sequence[Mapping[str, float]]) -> tuple[list[str], list[str]]:
    """Return the measures that are finite in all rows, and those that are not."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    kept = [name for name in names if all(math.isfinite(row.get(name, math.nan)) for row in rows)]
    return kept, [name for name in names if name not in kept]
