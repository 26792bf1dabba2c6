"""Who is scanned, and by which scanner: the cohort of a study file and its description for `phantoms`.

What a cohort may hold is checked by `phantoms.CohortSpec` and `phantoms.Design` themselves; here their
refusals get the key of the study file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from .section import Effect, Line, Section

if TYPE_CHECKING:
    from phantoms import CohortSpec, Design

MAX_SUBJECTS = 10_000
_OWN = ("subjects", "anatomy", "voxel_size_mm", "design")
"""Keys of the section that are not handed on to the cohort's description under their own name."""
_YOUNGER = ("diagnoses", "diagnosis_effect", "lesions", "lesion_contrast", "texture")
"""Keys that a phantom's parameters hold only where they are set, so that studies without them keep their
cells."""
_PLACES = {
    "n_subjects": "cohort.subjects",
    "male_fraction": "cohort.female_fraction",
    "design.sites": "scanners",
}
_REFUSAL = re.compile(r"(?P<name>[a-z_.]+) (?:= )?(?P<cause>.*)", re.DOTALL)
Finding = tuple[str, str, str]


class DesignSection(Section):
    """``[cohort.design]``: which scanner sees whom; the sites are the scanners, in the study's order."""

    kind: Literal["traveling", "balanced", "confounded", "null", "interaction", "unseen"] = Field(
        default="traveling", description="traveling: everybody on every scanner; else each subject on one"
    )
    age: float = Field(default=0.0, description="correlation of age with the scanner, 0 to 0.9")
    sex: float = Field(default=0.0, description="the same for sex")
    diagnosis: float = Field(default=0.0, description="the same for being a patient")
    interaction: float = Field(
        default=0.0, description="with interaction: spread of the age effect over the scanners, -2 to 2"
    )
    held_out: str = Field(
        default="", description="with unseen: label of the scanner that no harmonizer is fitted on"
    )


class CohortSection(Section):
    """``[cohort]``: who is scanned."""

    subjects: int = Field(ge=1, le=MAX_SUBJECTS)
    age_range: Annotated[tuple[float, float], Field(strict=False)] = Field(
        default=(20.0, 80.0), description="years, within 18 to 95; from 50 with patients"
    )
    female_fraction: float = Field(default=0.5, ge=0, le=1)
    age_effect: Effect = Field(
        default=1.0, description="multiple of the published effect, -3 to 3; 0 plants none; or by region"
    )
    anatomy: Line = "icbm152"
    voxel_size_mm: float = Field(
        default=1.0, ge=0.5, le=4, description="grid of the phantom, not of the images"
    )
    sex_effect: Effect = Field(default=1.0, description="multiple of the published effect, or by region")
    tissue_age_effect: float = Field(default=1.0, description="the same for T1, T2 and water")
    volume_spread: float = Field(default=1.0, description="multiple of the published spread, 0 to 2")
    tissue_spread: float = 1.0
    icv_spread: float = 1.0
    shape_spread: float = Field(default=1.0, description="multiple of the random deformation")
    diagnoses: dict[str, float] = Field(
        default={"control": 1.0}, description="shares of control, mci, ad and wml, which add up to 1"
    )
    diagnosis_effect: Effect = Field(
        default=1.0, description="multiple of what a diagnosis does to volumes and lesions, or by region"
    )
    lesions: float = Field(
        default=0.0, description="multiple of the volume of white-matter lesions, 0 to 10; 0 paints none"
    )
    lesion_contrast: float = Field(default=1.0, description="exponent of their contrast, 0 to 2")
    texture: float = Field(default=0.0, description="relative SD of fine texture of proton density, 0 to 0.1")
    design: DesignSection = Field(
        default=DesignSection(), description="which scanner sees whom; everybody travels when absent"
    )

    @property
    def travels(self) -> bool:
        """Whether everybody is seen on every scanner."""
        return self.design.kind == "traveling"

    @property
    def patients(self) -> bool:
        """Whether anybody may be other than a control."""
        return any(share > 0 for name, share in self.diagnoses.items() if name != "control")

    def planned(self, labels: Sequence[str]) -> "Design":
        """Return the design over scanners of these labels; one scanner alone cannot be travelled between.

        Raises
        ------
        CohortError
            For a design that cannot be.
        """
        from phantoms import Design

        settings = self.design.model_dump()
        if self.travels and len(labels) < 2:
            settings["kind"] = "balanced"
        return Design(sites=tuple(labels), **settings)

    def spec(self, labels: Sequence[str], seed: int) -> "CohortSpec":
        """Return the whole cohort's description."""
        record = self.model_dump(mode="json", exclude=set(_OWN))
        return described(record | {"design": asdict(self.planned(labels))}, self.subjects, seed)

    def record(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return, as JSON data, what a subject's anatomy may depend on.

        A traveling subject knows nothing of scanners, and which site is held out changes nobody.
        """
        known = type(self).model_fields
        record = self.model_dump(mode="json", exclude=set(_OWN))
        record = {k: v for k, v in record.items() if k not in _YOUNGER or v != known[k].default}
        if not self.travels:
            design = asdict(self.planned(labels)) | {"sites": list(labels), "held_out": ""}
            record["design"] = design | ({"kind": "confounded"} if design["kind"] == "unseen" else {})
        return record


def described(record: Mapping[str, Any], subjects: int, seed: int) -> "CohortSpec":
    """Return the description of the first subjects of a cohort from its record.

    Parameters
    ----------
    record : mapping
        As of `CohortSection.record`; other keys are passed over.
    subjects : int
        How many.
    seed : int
        Of the study.

    Raises
    ------
    CohortError
        For values that cannot be.
    """
    from phantoms import CohortSpec, Design

    values = {f.name: record[f.name] for f in fields(CohortSpec) if f.name in record}
    values["design"] = Design(**record["design"]) if "design" in record else Design()
    return CohortSpec(
        n_subjects=subjects, seed=seed, male_fraction=1.0 - float(record["female_fraction"]), **values
    )


def planted(cohort: CohortSection, labels: Sequence[str]) -> dict[str, Any]:
    """Return the effects that the cohort's description plants (`phantoms.planted_effects`) as JSON data."""
    from phantoms import planted_effects

    effects: dict[str, Any] = planted_effects(cohort.spec(labels, 0))
    effects["design"]["sites"] = list(labels)
    return effects


def known_columns(cohort: CohortSection) -> list[str]:
    """Return what a table of this cohort's people tells beside age, sex and head size."""
    told = {"diagnosis": cohort.patients, "site": not cohort.travels, "lesions": cohort.lesions > 0}
    return [name for name, there in told.items() if there]


def cohort_findings(cohort: CohortSection, labels: Sequence[str]) -> Iterator[Finding]:
    """Return what `phantoms` refuses of a cohort, by the keys of the study file, each key once.

    The keys are tried one by one, so that all problems come at once, and then together.
    """
    refused: dict[str, str] = {}
    for key, value in cohort.model_dump(include=cohort.model_fields_set, exclude=set(_OWN)).items():
        place, cause = _refusal(CohortSection.model_construct(subjects=1, **{key: value}), labels)
        if place == f"cohort.{key}":  # not another key, to which this one alone does not fit
            refused[place] = cause
    place, cause = _refusal(cohort, labels)
    if place:
        refused.setdefault(place, cause)
    yield from ((place, cause, "") for place, cause in refused.items())


def _refusal(cohort: CohortSection, labels: Sequence[str]) -> tuple[str, str]:
    """Return key and words of what a cohort is refused for; empty where it is not."""
    from phantoms import CohortError

    try:
        cohort.spec(tuple(dict.fromkeys(labels)), 0)
    except CohortError as error:
        return _located(str(error))
    return "", ""


def _located(text: str) -> tuple[str, str]:
    """Split a refusal into the study file's key and the rest."""
    found = _REFUSAL.fullmatch(text)
    if found is None:
        return "cohort", text
    name = found["name"]
    return _PLACES.get(name, f"cohort.{name}"), found["cause"]
