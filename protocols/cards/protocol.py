"""The protocol record: one scan of an exam card, in SI units with one meaning per field."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..records import Provenance, RecordError, find_record, list_records, load_record, read_toml, require
from .card_rules import family_rules, selection_rules, timing_rules
from .contrasts import Echoes, RefocusingDesign, Series
from .settings import Acceleration, Geometry, Readout, Rf, Selection, Timing
from .settings_epi import Diffusion, Epi, Trajectory, group_rules

SequenceKind = Literal["gre", "bssfp", "mprage", "mp2rage", "tse", "se", "epi", "radial", "spiral"]
Suffix = Literal[
    "T1w",
    "T2w",
    "FLAIR",
    "PDw",
    "T2starw",
    "VFA",
    "IRT1",
    "MP2RAGE",
    "MESE",
    "MEGRE",
    "DIR",
    "bSSFP",
    "bold",
    "dwi",
    "epi",
]

_DIRECTIONS: dict[str, tuple[tuple[float, ...], ...]] = {
    # read, phase, slice as RAS unit vectors; each triple is right-handed.
    "sagittal": ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "coronal": ((0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Prescription:
    """Where a scan lies in the scanner.

    Attributes
    ----------
    read_dir, phase_dir, slice_dir : ndarray of float, shape (3,)
        World RAS unit vectors of the logical axes x, y, z; right-handed.
    center : ndarray of float, shape (3,)
        Centre of the field of view in world RAS [m].
    """

    read_dir: NDArray[np.float64]
    phase_dir: NDArray[np.float64]
    slice_dir: NDArray[np.float64]
    center: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = self.rotation
        finite = bool(np.isfinite(matrix).all() and np.isfinite(self.center).all())
        orthonormal = finite and bool(np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-9))
        require(
            "prescription",
            [
                (self.center.shape == (3,), f"center must have 3 entries; got {self.center.shape}"),
                (
                    orthonormal,
                    f"directions must be finite, orthonormal unit vectors; got {matrix.T.tolist()}",
                ),
                (
                    not orthonormal or float(np.linalg.det(matrix)) > 0,
                    "directions must be right-handed (slice = read x phase). Flip one of them.",
                ),
            ],
        )

    @property
    def rotation(self) -> NDArray[np.float64]:
        """Matrix (3, 3) whose columns are the logical axes: world = rotation @ logical + center."""
        return np.stack([self.read_dir, self.phase_dir, self.slice_dir], axis=1)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One scan of an exam card.

    Attributes
    ----------
    name : str
        Library name.
    title, study : str
        What the card is and whose.
    scanner : str
        Library scanner the card was written for.
    sequence : {'gre', 'bssfp', 'mprage', 'mp2rage', 'tse', 'se', 'epi', 'radial', 'spiral'}
        Builder.
    suffix : str
        BIDS suffix; 'DIR' and 'bSSFP', for which BIDS has none.
    geometry, timing, rf, readout, acceleration, selection, echoes, refocusing, series
        Value groups in SI with one meaning (see each class).
    epi, diffusion, trajectory : Epi, Diffusion, Trajectory or None
        Groups that only echo-planar, diffusion-weighted, radial and spiral scans have.
    vendor_value : dict
        The same quantities as the vendor's console or DICOM header gives them.
    provenance : dict
        Source and verified flag per group, or per field as 'group.field'.
    derived_from : str
        Name of the card this one was computed from, '' for a card of the library.
    """

    name: str
    title: str
    study: str
    scanner: str
    sequence: SequenceKind
    suffix: Suffix
    geometry: Geometry
    timing: Timing
    rf: Rf
    readout: Readout
    acceleration: Acceleration = field(default_factory=Acceleration)
    selection: Selection = field(default_factory=Selection)
    echoes: Echoes = field(default_factory=Echoes)
    refocusing: RefocusingDesign = field(default_factory=RefocusingDesign)
    series: Series = field(default_factory=Series)
    epi: Epi | None = None
    diffusion: Diffusion | None = None
    trajectory: Trajectory | None = None
    vendor_value: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Provenance] = field(default_factory=dict)
    notes: str = ""
    derived_from: str = ""

    def __post_init__(self) -> None:
        groups = ("geometry", "timing", "rf", "readout")
        require(
            "protocol",
            [
                (bool(self.name), "name must not be empty"),
                *(
                    (g in self.provenance, f"{g}.source: missing; say where the values come from")
                    for g in groups
                ),
                *selection_rules(self.geometry, self.selection),
                *timing_rules(self.sequence, self.timing, self.rf, self.geometry),
                *family_rules(self.sequence, self.acceleration, self.selection, self.echoes, self.refocusing),
                *group_rules(self.sequence, self.selection, self.epi, self.diffusion, self.trajectory),
            ],
        )

    @property
    def flip_angle(self) -> float:
        """Excitation flip angle [rad]."""
        return math.radians(self.rf.flip_deg)

    def verified(self, key: str) -> bool:
        """Whether a 'group' or 'group.field' comes from a source that was read."""
        entry = self.provenance.get(key) or self.provenance.get(key.split(".")[0])
        return entry is not None and entry.verified

    def prescription(self) -> Prescription:
        """Directions and centre for the card's orientation."""
        read, phase, slice_ = (np.array(v) for v in _DIRECTIONS[self.geometry.orientation])
        return Prescription(
            read_dir=read, phase_dir=phase, slice_dir=slice_, center=np.array(self.geometry.center)
        )

    def replace(self, **changes: object) -> Protocol:
        """Copy with changed fields, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def at_resolution(self, voxel_size: float) -> Protocol:
        """Isotropic copy of the card at another resolution: same contrast times, other matrix.

        Parameters
        ----------
        voxel_size : float
            Isotropic target [m], not finer than the card's finest axis. Thick partitions become thinner
            ones; 2D slices become thicker only, and fewer where they do.

        Returns
        -------
        Protocol
            TE, TI, TR, echo spacing and bandwidth per pixel kept; matrix rounded up to even numbers
            (where that does not divide, the FOV grows by less than two voxels); a gradient-echo
            train shortens with the partitions, a spin-echo train keeps its length and needs fewer
            shots.
        """
        if not 1e-4 <= voxel_size <= 0.05:
            raise RecordError("at_resolution", [f"voxel_size must be 1e-4..0.05 m; got {voxel_size}"])
        if voxel_size < min(self.geometry.voxel_size) * (1 - 1e-6):
            return self
        geometry = _isotropic(self.geometry, voxel_size)
        if geometry.matrix == self.geometry.matrix:
            return self
        selection = self.selection
        if selection.mode == "slices":
            selection = _thicker(selection, geometry.fov[2], self.epi.multiband if self.epi else 1)
        timing = self.timing
        if self.sequence in ("mprage", "mp2rage"):
            axis = 2 if timing.inner_loop == "partition" else 1
            turbo = max(1, round(timing.turbo_factor * geometry.matrix[axis] / self.geometry.matrix[axis]))
            timing = dataclasses.replace(timing, turbo_factor=turbo)
        millimetres = f"{1e3 * voxel_size:g}"
        note = f"Derived from {self.name} at {millimetres} mm: same times and bandwidth per pixel."
        return dataclasses.replace(
            self,
            name=f"{self.name}-{millimetres}mm".replace(".", "p"),
            geometry=geometry,
            timing=timing,
            selection=selection,
            derived_from=self.derived_from or self.name,
            notes=f"{self.notes} {note}".strip(),
        )


def _isotropic(old: Geometry, voxel_size: float) -> Geometry:
    """Geometry with cubic voxels of `voxel_size` [m] and even matrices."""

    def axis(size: float, points: int) -> tuple[int, float]:
        coarse = max(4, 2 * math.ceil(points * size / voxel_size / 2 - 1e-6))
        return coarse, coarse * voxel_size

    (nx, fx), (ny, fy), (nz, fz) = (axis(s, n) for s, n in zip(old.voxel_size, old.matrix, strict=True))
    if old.matrix[2] == 1:
        nz, fz = 1, max(old.fov[2], voxel_size)
    return dataclasses.replace(old, matrix=(nx, ny, nz), fov=(fx, fy, fz))


def _thicker(old: Selection, thickness: float, multiple: int) -> Selection:
    """Slices of another thickness over the same stretch: the gap grows alike, the (bands') count shrinks."""
    ratio = thickness / old.thickness
    count = multiple * max(1, math.ceil(old.n_slices / ratio / multiple - 1e-6))
    return dataclasses.replace(
        old,
        thickness=thickness,
        gap=old.gap * ratio,
        n_slices=count,
        concatenations=min(old.concatenations, count),
    )


def load_protocol(name_or_path: str | Path) -> Protocol:
    """Load a protocol card from the library (by name) or from a TOML file (by path).

    A scan of a quantitative series is named after its card, '<card>-flip2' or '<card>-inv3' (see
    `series_cards`).

    Raises
    ------
    RecordError
        With all errors of the card at once.
    """
    member = re.fullmatch(r"(.+)-(?:flip|inv)(\d+)", str(name_or_path))
    if member and str(name_or_path) not in list_protocols() and member[1] in list_protocols():
        from .series import series_cards

        cards = {card.name: card for card in series_cards(load_protocol(member[1]))}
        if str(name_or_path) in cards:
            return cards[str(name_or_path)]
    path = find_record("protocols", name_or_path)
    return load_record(Protocol, read_toml(path), path.name)


def list_protocols() -> tuple[str, ...]:
    """Names of the cards in the library."""
    return list_records("protocols")
