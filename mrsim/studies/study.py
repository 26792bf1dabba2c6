"""The study file as strict models: what a user may ask for, and within which bounds.

Units are those of a person who writes a study (mm, degrees, years) and are named in the keys; everything
behind this border is SI. Checks that join sections are in `checks`, reading and error messages in
`study_input`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .cohort import MAX_SUBJECTS, CohortSection
from .section import Cards, Label, Line, Overrides, Params, Section, StudyName

CONTRASTS = ("T1w", "T2w", "FLAIR")
Contrast = Literal["T1w", "T2w", "FLAIR"]


class StudySection(Section):
    """``[study]``: identity, seed and the reference scanner."""

    name: StudyName
    seed: int = Field(ge=0, lt=2**63)
    reference_scanner: Label = Field(description="label of the scanner whose images are the target")
    description: Annotated[str, Field(max_length=4000)] = ""
    authors: Annotated[tuple[Line, ...], Field(strict=False, max_length=200)] = ()


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

    scanners: dict[str, ReconOverride] = Field(default={})

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
    params: Params = Field(default={})
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

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the scanners, which are the sites of the cohort's design."""
        return tuple(scanner.label for scanner in self.scanners)

    def scanners_of(self, number: int) -> tuple[ScannerSection, ...]:
        """Return the scanners that see a subject, by number from 1: all of them, or the subject's own."""
        if self.cohort.travels:
            return self.scanners
        return (self.scanners[self.cohort.planned(self.labels).site_of(number - 1)],)

    def sites(self) -> dict[str, str]:
        """Return the one scanner of each subject; empty where everybody travels."""
        if self.cohort.travels:
            return {}
        return {subject: self.scanners_of(k)[0].label for k, subject in enumerate(self.subjects, 1)}

    def images(self) -> int:
        """Count the scans of all subjects over scanners, repeats and contrasts."""
        numbers = range(1, self.cohort.subjects + 1)
        scans = sum(scanner.repeats for number in numbers for scanner in self.scanners_of(number))
        return scans * len(self.protocols)

    def record(self) -> dict[str, Any]:
        """Return the complete study, defaults included, as plain JSON data."""
        data: Mapping[str, Any] = self.model_dump(mode="json")
        return dict(data)
