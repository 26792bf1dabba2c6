"""Pictures of the example subject: every method under every scanner, and what still differs.

Neurological convention: the subject's right is on the right of axial and coronal pictures.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..image_metrics import match_intensity
from .data import RAW, TRUTH, ReportData, ReportImage
from .style import data_uri

Plane = Literal["axial", "coronal", "sagittal"]
View = Literal["same", "own", "difference"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
VIEWS: tuple[View, ...] = ("same", "own", "difference")
MARGIN = 0.018
"""Shown around the brain [m]: enough for skull and scalp."""
DIFFERENCE_RANGE = 25.0
"""End of the common scale of difference maps, in % of the reference's mean inside the brain."""
MAX_COLUMNS = 8
_AXIS: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}

# Blue - white - red in equal steps of lightness; readable with every common colour deficiency.
_DIVERGING = np.array(
    [
        [5, 48, 97],
        [33, 102, 172],
        [67, 147, 195],
        [146, 197, 222],
        [247, 247, 247],
        [244, 165, 130],
        [214, 96, 77],
        [178, 24, 43],
        [103, 0, 31],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How pictures are stored: a step on the ladder from exact to small."""

    lossy: int | None = None
    step: int = 1
    planes: tuple[Plane, ...] = PLANES
    views: tuple[View, ...] = VIEWS

    @property
    def words(self) -> str:
        """What was given up for size, for the reader."""
        said = []
        if self.step > 1:
            said.append(f"every {self.step}. voxel is shown")
        if self.lossy is not None:
            said.append("the pictures are compressed with loss")
        if len(self.planes) < len(PLANES):
            said.append("only the axial plane is shown")
        return ", ".join(said) + " to keep this file small" if said else "stored without loss, voxel by voxel"


QUALITIES: tuple[Quality, ...] = (
    Quality(),
    Quality(lossy=88),
    Quality(lossy=80, step=2),
    Quality(lossy=75, step=2, planes=("axial",)),
    Quality(lossy=60, step=4, planes=("axial",), views=("same", "difference")),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One picture; `uri` is empty where there is no image, `note` says what to know about it."""

    uri: str
    alt: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One contrast, plane and view: rows are methods, columns scanners."""

    contrast: str
    plane: Plane
    view: View
    columns: tuple[tuple[str, int], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    width: int
    height: int


def columns_of(data: ReportData) -> tuple[tuple[str, int], ...]:
    """Return (scanner, run) of the columns: the reference, its rescan, then the others' first run."""
    have = {(image.session, image.run) for image in data.scans}
    order = list(data.sessions)
    order += sorted({session for session, _ in have} - set(order))
    columns = []
    for session in order:
        runs = sorted(run for name, run in have if name == session)
        columns += [(session, run) for run in runs[: 2 if session == data.reference else 1]]
    return tuple(columns[:MAX_COLUMNS])


def panels(data: ReportData, quality: Quality) -> Iterator[Panel]:
    """Yield every panel, contrast by contrast.

    Windows: `same` is one per row, the 1st to 99.5th percentile inside the brain of that method's image under
    the reference scanner, as harmonizers change units; `own` is each image's own; `difference` is against
    the truth (without one: the raw reference image) after the best linear match, in % of its mean inside the
    brain.
    """
    if not data.scans:
        return
    mask, columns = _brain(data), columns_of(data)
    by_key = {(i.contrast, i.method, i.session, i.run): i for i in data.scans}
    for contrast in data.contrasts:
        rows = {m: [by_key.get((contrast, m, *column)) for column in columns] for m in data.methods}
        rows = {m: found for m, found in rows.items() if any(found)}
        if not rows:
            continue
        truth = data.truths.get(contrast)
        own = by_key.get((contrast, RAW, *columns[0])) if columns[0][0] == data.reference else None
        painter = _Painter(
            mask=mask, voxel=data.scans[0].voxel_size, quality=quality, target=truth or own, truth=truth
        )
        for plane in quality.planes:
            for view in quality.views:
                if view != "difference" or painter.target is not None:
                    yield painter.panel(contrast, plane, view, columns, rows)


def _brain(data: ReportData) -> npt.NDArray[np.bool_]:
    shape = data.images[0].data.shape
    if data.mask is not None and np.any(data.mask):
        return np.asarray(data.mask, dtype=bool)
    return np.ones(shape, dtype=bool)


@dataclass(kw_only=True)
class _Painter:
    """Cuts, windows and encodes the slices of one contrast."""

    mask: npt.NDArray[np.bool_]
    voxel: tuple[float, float, float]
    quality: Quality
    target: ReportImage | None
    truth: ReportImage | None
    _windows: dict[int, tuple[float, float]] = field(default_factory=dict)
    _maps: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._box, self._middle = [], []
        for axis in range(3):
            weight = self.mask.sum(axis=tuple(a for a in range(3) if a != axis))
            inside, room = np.flatnonzero(weight), int(np.ceil(MARGIN / self.voxel[axis]))
            self._box.append(slice(max(0, int(inside[0]) - room), int(inside[-1]) + room + 1))
            self._middle.append(int(np.round(np.average(np.arange(weight.size), weights=weight))))

    def panel(
        self,
        contrast: str,
        plane: Plane,
        view: View,
        columns: tuple[tuple[str, int], ...],
        rows: Mapping[str, Sequence[ReportImage | None]],
    ) -> Panel:
        """Return the pictures of one contrast, plane and view."""
        cells: list[tuple[str, tuple[Cell, ...]]] = []
        if self.truth is not None and view != "difference":
            cells.append((TRUTH, (self._cell(self.truth, plane, "own", (0.0, 1.0)),)))
        for method, images in rows.items():
            first = next(i for i in images if i is not None)
            window = self._window(first)
            cells.append((method, tuple(self._cell(image, plane, view, window) for image in images)))
        height, width = self.cut(self.mask, plane).shape
        across, up = (self.voxel[a] for a in range(3) if a != _AXIS[plane])
        return Panel(
            contrast=contrast,
            plane=plane,
            view=view,
            columns=columns,
            rows=tuple(cells),
            width=round(width * across * 1e3),
            height=round(height * up * 1e3),
        )

    def cut(self, volume: npt.NDArray[Any], plane: Plane) -> npt.NDArray[Any]:
        """Return the slice through the brain's centre as picture rows (superior or anterior first)."""
        axis = _AXIS[plane]
        where: list[slice | int] = list(self._box)
        where[axis] = self._middle[axis]
        return np.ascontiguousarray(volume[tuple(where)].T[::-1])

    def _window(self, image: ReportImage) -> tuple[float, float]:
        if id(image) not in self._windows:
            values = image.data[self.mask & np.isfinite(image.data)]
            low, high = np.percentile(values, (1.0, 99.5)) if values.size else (0.0, 1.0)
            self._windows[id(image)] = (float(low), float(high) if high > low else float(low) + 1.0)
        return self._windows[id(image)]

    def _cell(self, image: ReportImage | None, plane: Plane, view: View, window: tuple[float, float]) -> Cell:
        if image is None:
            return Cell(uri="", alt="", note="no image")
        name = f"{image.contrast}, {plane}, {image.method}, {image.session} run {image.run}"
        if view == "difference":
            return self._difference(image, plane, f"difference: {name}")
        low, high = window if view == "same" else self._window(image)
        piece = np.nan_to_num(self.cut(image.data, plane), nan=low, posinf=high, neginf=low)
        gray = np.clip((piece - low) / (high - low), 0.0, 1.0) * 255.0
        return Cell(uri=self._encode(np.round(gray).astype(np.uint8)), alt=name)

    def _difference(self, image: ReportImage, plane: Plane, name: str) -> Cell:
        target = self.target
        if target is None or image is target:
            return Cell(uri="", alt="", note="the reference itself")
        slope, intercept, size = self._matched(image, target)
        if not np.isfinite(size):
            return Cell(uri="", alt="", note="no finite voxels")
        own, aim = (self.cut(i.data, plane).astype(np.float64) for i in (image, target))
        error = slope * own + intercept - aim * self._percent(target)
        inside = self.cut(self.mask, plane) & np.isfinite(error)
        picture = diverging(np.where(inside, error, 0.0) / DIFFERENCE_RANGE)
        picture[~inside] = 255.0
        return Cell(uri=self._encode(np.round(picture).astype(np.uint8)), alt=name, note=f"rms {size:.1f} %")

    def _percent(self, target: ReportImage) -> float:
        values = target.data[self.mask & np.isfinite(target.data)]
        return 100.0 / max(abs(float(values.mean(dtype=np.float64))), 1e-30)

    def _matched(self, image: ReportImage, target: ReportImage) -> tuple[float, float, float]:
        """Return the map of an image onto the target in % of its mean, and the rms of what is left [%]."""
        if id(image) not in self._maps:
            inside = self.mask & np.isfinite(image.data) & np.isfinite(target.data)
            found = (np.nan, np.nan, np.nan)
            if inside.sum() >= 2:
                percent = self._percent(target)
                own, aim = image.data[inside], target.data[inside]
                match = match_intensity(own, aim, np.ones(own.shape, dtype=bool))
                rms = float(np.sqrt(np.mean((match.apply(own) - aim) ** 2)))
                found = (percent * match.slope, percent * match.intercept, percent * rms)
            self._maps[id(image)] = found
        return self._maps[id(image)]

    def _encode(self, picture: npt.NDArray[np.uint8]) -> str:
        from PIL import Image

        step = self.quality.step
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
        if self.quality.lossy is None:
            image.save(buffer, format="WEBP", lossless=True, quality=50, method=3)
        else:
            image.save(buffer, format="WEBP", quality=self.quality.lossy, method=4)
        return data_uri(buffer.getvalue(), "image/webp")


def diverging(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return RGB (..., 3) in 0..255 of values in -1..1."""
    place = (np.clip(values, -1.0, 1.0) + 1.0) / 2.0 * (len(_DIVERGING) - 1)
    knots = np.arange(len(_DIVERGING))
    return np.stack([np.interp(place, knots, _DIVERGING[:, c]) for c in range(3)], axis=-1)


def colorbar_stops() -> str:
    """Return the colour scale as CSS gradient stops."""
    return ", ".join(f"rgb({int(r)},{int(g)},{int(b)})" for r, g, b in _DIVERGING)
