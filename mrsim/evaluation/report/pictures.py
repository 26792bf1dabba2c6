"""Pictures of the example subject: every method under every scanner, and what still differs.

Neurological convention: the subject's right is on the right of axial and coronal pictures.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..image_metrics import match_intensity
from .data import ReportData, ReportImage
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
    have = {(image.session, image.run) for image in data.images}
    order = [s for s in data.sessions] or sorted({session for session, _ in have})
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
    the raw reference image after the best linear match, in % of the reference's mean inside the brain.
    """
    if not data.images:
        return
    mask = _brain(data)
    columns = columns_of(data)
    by_key = {(i.contrast, i.method, i.session, i.run): i for i in data.images}
    shown = [m for m in data.methods if any(i.method == m for i in data.images)]
    box = _box(mask, data.images[0].voxel_size)
    for contrast in [c for c in data.contrasts if any(i.contrast == c for i in data.images)]:
        rows = {m: [by_key.get((contrast, m, *column)) for column in columns] for m in shown}
        rows = {m: found for m, found in rows.items() if any(found)}
        target = by_key.get((contrast, "raw", *columns[0])) if columns[0][0] == data.reference else None
        painter = _Painter(data=data, mask=mask, box=box, quality=quality, target=target)
        for plane in quality.planes:
            for view in quality.views:
                if view == "difference" and target is None:
                    continue
                yield painter.panel(contrast, plane, view, columns, rows)


def _brain(data: ReportData) -> npt.NDArray[np.bool_]:
    shape = data.images[0].data.shape
    if data.mask is not None and data.mask.any():
        return np.asarray(data.mask, dtype=bool)
    return np.ones(shape, dtype=bool)


def _box(mask: npt.NDArray[np.bool_], voxel: Sequence[float]) -> tuple[slice, ...]:
    box = []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        room = int(np.ceil(MARGIN / voxel[axis]))
        box.append(slice(max(0, int(inside[0]) - room), min(mask.shape[axis], int(inside[-1]) + room + 1)))
    return tuple(box)


@dataclass(frozen=True, kw_only=True)
class _Painter:
    """Cuts, windows and encodes the slices of one contrast."""

    data: ReportData
    mask: npt.NDArray[np.bool_]
    box: tuple[slice, ...]
    quality: Quality
    target: ReportImage | None

    def panel(
        self,
        contrast: str,
        plane: Plane,
        view: View,
        columns: tuple[tuple[str, int], ...],
        rows: Mapping[str, Sequence[ReportImage | None]],
    ) -> Panel:
        cells = []
        for method, images in rows.items():
            window = self._window(next((i for i in images if i is not None), None))
            cells.append((method, tuple(self._cell(image, plane, view, window) for image in images)))
        height, width = self.cut(self.mask, plane).shape
        mm = self.data.images[0].voxel_size
        across, up = [(mm[a]) for a in range(3) if a != _AXIS[plane]]
        return Panel(
            contrast=contrast,
            plane=plane,
            view=view,
            columns=columns,
            rows=tuple(cells),
            width=round(width * across * 1e3),
            height=round(height * up * 1e3),
        )

    def cut(self, volume: npt.NDArray[np.generic], plane: Plane) -> npt.NDArray[np.generic]:
        """Return the slice through the brain's centre as picture rows (superior or anterior first)."""
        axis = _AXIS[plane]
        weight = self.mask.sum(axis=tuple(a for a in range(3) if a != axis))
        middle = int(np.round(np.average(np.arange(weight.size), weights=weight)))
        box = [b for a, b in enumerate(self.box) if a != axis]
        piece = np.take(volume, middle, axis=axis)[box[0], box[1]]
        return np.ascontiguousarray(piece.T[::-1])

    def _window(self, image: ReportImage | None) -> tuple[float, float]:
        if image is None:
            return 0.0, 1.0
        values = image.data[self.mask & np.isfinite(image.data)]
        if values.size == 0:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(values, (1.0, 99.5)))
        return (low, high) if high > low else (low, low + 1.0)

    def _cell(
        self, image: ReportImage | None, plane: Plane, view: View, window: tuple[float, float]
    ) -> Cell:
        if image is None:
            return Cell(uri="", alt="", note="no image")
        name = f"{image.contrast}, {plane}, {image.method}, {image.session} run {image.run}"
        if view == "difference":
            return self._difference(image, plane, f"difference to the reference: {name}")
        low, high = window if view == "same" else self._window(image)
        piece = np.nan_to_num(self.cut(image.data, plane), nan=low, posinf=high, neginf=low)
        gray = np.clip((piece - low) / (high - low), 0.0, 1.0) * 255.0
        return Cell(uri=self._encode(np.round(gray).astype(np.uint8)), alt=name)

    def _difference(self, image: ReportImage, plane: Plane, name: str) -> Cell:
        target = self.target
        if target is None or image.data is target.data or image is target:
            return Cell(uri="", alt="", note="the reference itself")
        inside = self.mask & np.isfinite(image.data) & np.isfinite(target.data)
        if inside.sum() < 2:
            return Cell(uri="", alt="", note="no finite voxels")
        match = match_intensity(image.data, target.data, inside)
        scale = 100.0 / max(abs(float(target.data[inside].mean(dtype=np.float64))), 1e-30)
        error = scale * (match.apply(image.data) - target.data)
        size = float(np.sqrt(np.mean(error[inside] ** 2)))
        colors = _diverging(np.where(inside, error, 0.0) / DIFFERENCE_RANGE)
        flat = [self.cut(colors[..., c], plane) for c in range(3)]
        outside = ~self.cut(inside, plane).astype(bool)
        picture = np.stack(flat, axis=-1)
        picture[outside] = 255
        return Cell(uri=self._encode(picture.astype(np.uint8)), alt=name, note=f"rms {size:.1f} %")

    def _encode(self, picture: npt.NDArray[np.uint8]) -> str:
        from PIL import Image

        step = self.quality.step
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
        if self.quality.lossy is None:
            image.save(buffer, format="WEBP", lossless=True, quality=70, method=4)
        else:
            image.save(buffer, format="WEBP", quality=self.quality.lossy, method=4)
        return data_uri(buffer.getvalue(), "image/webp")


def _diverging(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return RGB (..., 3) in 0..255 of values in -1..1."""
    place = (np.clip(values, -1.0, 1.0) + 1.0) / 2.0 * (len(_DIVERGING) - 1)
    knots = np.arange(len(_DIVERGING))
    return np.stack([np.interp(place, knots, _DIVERGING[:, c]) for c in range(3)], axis=-1)


def colorbar_stops() -> str:
    """Return the colour scale as CSS gradient stops."""
    return ", ".join(f"rgb({int(r)},{int(g)},{int(b)})" for r, g, b in _DIVERGING)
