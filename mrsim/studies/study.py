"""The study file as strict models: what a user may ask for, and within which bounds.

Units are those of a person who writes a study (mm, degrees, years) and are named in the keys; everything
behind this border is SI. Checks that join sections are in `checks`, reading and error messages in
`study_input`.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

LABEL = re.compile(r"[0-9A-Za-z]{1,32}")
STUDY_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
MAX_SUBJECTS = 10_000
NATIVE = "native"

CONTRASTS = ("T1w", "T2w", "FLAIR")
Contrast = Literal["T1w", "T2w", "FLAIR"]


def _label(value: str) -> str:
    if LABEL.fullmatch(value) is None:
        raise ValueError("must be 1 to 32 letters or digits (0-9, A-Z, a-z)")
    return value


def _study_name(value: str) -> str:
    if STUDY_NAME.fullmatch(value) is None:
        raise ValueError(
            "must be 1 to 64 letters, digits, hyphens or underscores, beginning with a letter or digit"
        )
    return value


def _one_line(value: str) -> str:
    if any(ord(character) < 32 for character in value):
        raise ValueError("must be one line of text without control characters")
    return value


def _cards(value: object) -> object:
    """Read the word "native": it means that no scanner has another card than its own."""
    if value == NATIVE:
        return {}
    if isinstance(value, str):
        raise ValueError('must be "native" or a table {scanner_label = "card name"}')
    return value


def _params(value: dict[str, Any]) -> dict[str, Any]:
    """Parameters are numbers, text, truth values, or lists of these: nothing nested, nothing infinite."""
    for key, item in value.items():
        for entry in item if isinstance(item, list) else [item]:
            _check_scalar(key, entry)
    return value


def _overrides(value: dict[str, Any]) -> dict[str, Any]:
    """Check overrides: each names a value, or a group of values, of the scanner record."""
    for key, item in value.items():
        for name, entry in item.items() if isinstance(item, dict) else [(key, item)]:
            _check_scalar(name if name == key else f"{key}.{name}", entry)
    return value


def _check_scalar(key: str, entry: object) -> None:
    if not isinstance(entry, bool | int | float | str):
        raise ValueError(f"{key!r} must be a number, text or a truth value")
    if isinstance(entry, float) and not math.isfinite(entry):
        raise ValueError(f"{key!r} must be finite; got {entry}")


Label = Annotated[str, AfterValidator(_label)]
Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_one_line)]
Params = Annotated[dict[str, Any], AfterValidator(_params)]
Overrides = Annotated[dict[str, Any], AfterValidator(_overrides)]
Cards = Annotated[dict[str, Line], BeforeValidator(_cards)]


class Section(BaseModel):
    """Strict, closed and frozen: unknown keys, wrong types, infinities and NaN are refused."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


class StudySection(Section):
    """``[study]``: identity, seed and the reference scanner."""

    name: Annotated[str, AfterValidator(_study_name)]
    seed: int = Field(ge=0, lt=2**63)
    reference_scanner: Label = Field(description="label of the scanner whose images are the target")
    description: Annotated[str, Field(max_length=4000)] = ""
    authors: Annotated[tuple[Line, ...], Field(strict=False, max_length=200)] = ()


class CohortSection(Section):
    """``[cohort]``: who is scanned."""

    subjects: int = Field(ge=1, le=MAX_SUBJECTS)
    age_range: Annotated[
        tuple[Annotated[float, Field(ge=18, le=95)], Annotated[float, Field(ge=18, le=95)]],
        Field(strict=False),
    ] = (20.0, 80.0)
    female_fraction: float = Field(default=0.5, ge=0, le=1)
    age_effect: float = Field(
        default=1.0, ge=0, le=10, description="multiple of the published effect; 0 plants none"
    )
    anatomy: Line = "icbm152"
    voxel_size_mm: float = Field(
        default=1.0, ge=0.5, le=4, description="grid of the phantom, not of the images"
    )
    sex_effect: float = Field(default=1.0, ge=0, le=10, description="multiple of the published effect")
    tissue_age_effect: float = Field(default=1.0, ge=0, le=10, description="the same for T1, T2 and water")
    volume_spread: float = Field(default=1.0, ge=0, le=3, description="multiple of the published spread")
    tissue_spread: float = Field(default=1.0, ge=0, le=3)
    icv_spread: float = Field(default=1.0, ge=0, le=3)
    shape_spread: float = Field(default=1.0, ge=0, le=3, description="multiple of the random deformation")


class ScannerSection(Section):
    """``[[scanners]]``: one scanner; its label is the BIDS session."""

    name: Line = Field(description="name in the library, or path of a scanner file")
    label: Label
    repeats: int = Field(default=1, ge=1, le=100, description="scans of each subject on this scanner")
    overrides: Overrides = Field(default={}, description="changed values, as noise.relative_figure = 1.2")


class ProtocolSection(Section):
    """``[[protocols]]``: one contrast, and the card by which each scanner acquires it."""

    contrast: Contrast
    cards: Cards = Field(
        default={}, description='"native", or a table: scanner label = card name; absent scanners stay native'
    )
    voxel_size_mm: Annotated[float, Field(ge=0.3, le=10)] | None = Field(
        default=None, description="coarser than the card: same times and bandwidth per pixel, smaller matrix"
    )
    coils: Annotated[int, Field(ge=1, le=128)] | None = None


class SimulationSection(Section):
    """``[simulation]``: which effects are simulated, and how finely."""

    coils: Annotated[int, Field(ge=1, le=128)] | None = Field(
        default=None, description="loops of the receive array; the scanner record's number when absent"
    )
    noise: bool = True
    b0: bool = Field(default=True, description="off-resonance (susceptibility, shim)")
    b1: bool = Field(default=True, description="transmit-field differences")
    tolerance: float = Field(
        default=1e-3, gt=0, le=0.1, description="relative error of k-space that compression may leave"
    )
    off: tuple[Line, ...] = Field(
        default=(), strict=False, description="imperfections switched off on every scanner, by cause"
    )
    keep_raw: bool = Field(default=False, description="keep the raw data after they were reconstructed")

    @field_validator("off")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Causes must exist."""
        from mrsim.simulation.causes import CAUSES

        unknown = [name for name in names if name not in CAUSES]
        if unknown:
            raise ValueError(f"unknown cause {unknown[0]!r}; known are {', '.join(CAUSES)}")
        return names


class ReconOverride(Section):
    """How images are reconstructed; ``"native"`` is what the scanner record says."""

    combine: Literal["native", "adaptive", "rss", "espirit"] = "native"
    acceleration: Literal["native", "auto", "grappa", "sense", "cg_sense", "none"] = "native"
    partial_fourier: Literal["native", "zero", "homodyne", "pocs"] = "native"
    intensity_correction: Literal["native", "none", "prescan_normalize"] = "native"
    distortion_correction: Literal["native", "none", "2d", "3d"] = "native"


class ReconSection(ReconOverride):
    """``[recon]``: for all scanners, and ``[recon.scanners.LABEL]`` for one."""

    scanners: dict[str, ReconOverride] = {}

    def of(self, label: str) -> dict[str, str]:
        """Return the settings of one scanner: its own where given, else those for all."""
        general = self.model_dump(exclude={"scanners"})
        own = self.scanners[label].model_dump(exclude_unset=True) if label in self.scanners else {}
        return general | own


class HarmonizerSection(Section):
    """``[[harmonizers]]``: one method with its parameters."""

    name: Line
    label: Label | None = Field(
        default=None, description="name in the output; the method's name without punctuation"
    )
    params: Params = {}
    contrasts: Annotated[tuple[Contrast, ...], Field(strict=False, min_length=1)] | None = None

    @property
    def key(self) -> str:
        """The label under which results are kept."""
        return self.label or re.sub(r"[^0-9A-Za-z]", "", self.name)[:32] or "harmonizer"


class EvaluationSection(Section):
    """``[evaluation]``: how much evidence the scores rest on."""

    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    permutations: int = Field(default=200, ge=0, le=100_000)
    probes: Annotated[
        tuple[Literal["linear", "forest", "mask", "demographics"], ...], Field(strict=False)
    ] = (
        "linear",
        "mask",
        "demographics",
    )
    false_positive: bool = Field(default=True, description="also score an effect that was never planted")


class ReportSection(Section):
    """``[report]``: what the report shows."""

    title: Line | None = None
    example_subject: int = Field(default=1, ge=1, le=MAX_SUBJECTS)


class AttributionSection(Section):
    """``[attribution]``: what `mrsim attribute` splits into its causes; other verbs pass over it."""

    scanners: Annotated[tuple[Label, ...], Field(strict=False, min_length=2, max_length=2)] | None = Field(
        default=None, description="labels of the two scanners, the reference first; the study's two"
    )
    contrast: Contrast | None = Field(default=None, description="which images; the first protocol's")
    subject: int = Field(default=1, ge=1, le=MAX_SUBJECTS, description="whose head, by number")
    causes: Annotated[tuple[Line, ...], Field(strict=False, max_length=64)] = Field(
        default=(), description="those to tell apart, the others stay off; all that act when absent"
    )
    permutations: int = Field(
        default=16, ge=4, le=100_000, description="orders sampled for Shapley values, in antithetic pairs"
    )
    measures: Annotated[
        tuple[Literal["image", "features"], ...], Field(strict=False, min_length=1, max_length=2)
    ] = ("image", "features")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class Study(Section):
    """One study: everything that a run needs to know, in one file."""

    study: StudySection
    cohort: CohortSection
    scanners: Annotated[tuple[ScannerSection, ...], Field(strict=False, min_length=1, max_length=1000)]
    protocols: Annotated[tuple[ProtocolSection, ...], Field(strict=False, min_length=1, max_length=3)]
    simulation: SimulationSection = SimulationSection()
    recon: ReconSection = ReconSection()
    harmonizers: Annotated[tuple[HarmonizerSection, ...], Field(strict=False, max_length=200)] = ()
    evaluation: EvaluationSection = EvaluationSection()
    report: ReportSection = ReportSection()
    attribution: AttributionSection = AttributionSection()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject labels; no padding beyond two digits, so adding subjects never renames earlier ones."""
        return tuple(f"{number:02d}" for number in range(1, self.cohort.subjects + 1))

    @property
    def title(self) -> str:
        """The title of the report."""
        return self.report.title or self.study.name

    def images_per_subject(self) -> int:
        """Count the scans of one subject over scanners, repeats and contrasts."""
        return sum(scanner.repeats for scanner in self.scanners) * len(self.protocols)

    def record(self) -> dict[str, Any]:
        """Return the complete study, defaults included, as plain JSON data."""
        data: Mapping[str, Any] = self.model_dump(mode="json")
        return dict(data)
