"""The output as a BIDS dataset: names, tables and descriptions.

Simulated images are "raw data" in BIDS terms: what a scanner's reconstruction hands out. Each scanner is a
session of the traveling subjects; harmonized images and the truth are derivatives with descriptions of their
own.

Names follow BIDS 1.10 (https://bids-specification.readthedocs.io); labels are checked before they become
paths.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from .bids_tables import (
    PARTICIPANT_COLUMNS,
    SESSION_COLUMNS,
    STANDARD_COLUMNS,
    participants_table,
    sessions_table,
)
from .canonical import pretty_json
from .section import LABEL

BIDS_VERSION = "1.10.0"
LICENSE = "CC0"
TRUTH = "truth"
_FIRST_RELEASE = "1.0.0"
# BIDS wants a date; the dataset's content does not depend on the day, so it is that of the format.
_FIRST_DATE = "2026-01-01"
_SAFE = re.compile(r"[0-9A-Za-z]+")


@dataclass(frozen=True, kw_only=True)
class ImageName:
    """Entities of an image's name.

    Parameters
    ----------
    subject, session : str
        Labels.
    run : int
        From 1.
    suffix : str
        ``T1w``, ``T2w``, ``FLAIR``, ...
    description : str
        ``desc-`` entity of derivatives; empty for none.
    """

    subject: str
    session: str
    run: int
    suffix: str
    description: str = ""

    def __post_init__(self) -> None:
        for name in ("subject", "session"):
            check_label(name, getattr(self, name))
        if self.description:
            check_label("description", self.description)
        if self.run < 1:
            raise ValueError(f"run must be at least 1; got {self.run}")
        if _SAFE.fullmatch(self.suffix) is None:
            raise ValueError(f"suffix must be letters and digits; got {self.suffix!r}")

    @property
    def stem(self) -> str:
        """File name without extension."""
        description = f"_desc-{self.description}" if self.description else ""
        return f"sub-{self.subject}_ses-{self.session}_run-{self.run}{description}_{self.suffix}"

    @property
    def folder(self) -> str:
        """Folder below a dataset's root."""
        return f"sub-{self.subject}/ses-{self.session}/anat"

    def path(self, extension: str) -> str:
        """Path in the raw dataset."""
        return f"{self.folder}/{self.stem}{extension}"

    def source_path(self, extension: str) -> str:
        """Path of the raw scanner data."""
        return f"sourcedata/{self.folder}/{self.stem}{extension}"

    def derivative_path(self, derivative: str, extension: str) -> str:
        """Path in a derivative dataset."""
        check_label("derivative", derivative)
        return f"derivatives/{derivative}/{self.folder}/{self.stem}{extension}"


def check_label(name: str, value: str) -> None:
    """Refuse what must not become part of a path."""
    if LABEL.fullmatch(value) is None:
        raise ValueError(f"{name} must be 1 to 32 letters or digits (0-9, A-Z, a-z); got {value!r}")


def truth_path(subject: str) -> str:
    """Path of a subject's truth block (age, volumes, tissue values).

    BIDS has no name for it yet; below ``sourcedata`` names are free, also under a recursive validation.
    """
    check_label("subject", subject)
    return f"derivatives/{TRUTH}/sourcedata/sub-{subject}_truth.json"


def counterfactual_path(subject: str, contrast: str) -> str:
    """Path of a subject's image under the reference scanner, free of noise and repositioning."""
    check_label("subject", subject)
    return f"derivatives/{TRUTH}/sourcedata/sub-{subject}_reference_{contrast}.nii.gz"


def planted_path() -> str:
    """Path of the effects that the cohort's description plants."""
    return f"derivatives/{TRUTH}/sourcedata/planted_effects.json"


def dataset_files(
    subjects: Sequence[str], methods: Sequence[str], contrasts: Sequence[str]
) -> tuple[str, ...]:
    """Return the paths that `write_dataset` writes."""
    tops = (
        "dataset_description.json",
        "README",
        "CHANGES",
        ".bidsignore",
        "participants.tsv",
        "participants.json",
    )
    derivatives = (
        f"derivatives/{name}/{file}"
        for name in (TRUTH, *methods)
        for file in ("dataset_description.json", "README")
    )
    return (
        *tops,
        "sessions.json",
        planted_path(),
        *derivatives,
        *(_method_sidecar(method, contrast) for method in methods for contrast in contrasts),
        *(f"sub-{subject}/sub-{subject}_sessions.tsv" for subject in subjects),
    )


def write_dataset(
    folder: Path,
    *,
    name: str,
    title: str,
    description: str,
    authors: Sequence[str],
    participants: Sequence[Mapping[str, Any]],
    sessions: Mapping[str, Mapping[str, Any]],
    methods: Sequence[str],
    subjects: Sequence[str],
    contrasts: Sequence[str],
    sites: Mapping[str, str] | None = None,
    known: Sequence[str] = (),
    planted: Mapping[str, Any] | None = None,
) -> None:
    """Write descriptions and tables of the dataset (all files of `dataset_files`).

    Parameters
    ----------
    folder : Path
        Where to.
    name, title, description, authors
        Of the study.
    participants : sequence of mapping
        One per subject: ``subject`` (label), ``age`` [years], ``sex`` ("F" or "M"), optionally ``icv`` [mL]
        and what `known` names. Subjects without an entry are listed with ``n/a``.
    sessions : mapping
        Session label -> manufacturer, model, software, station, institution, field_strength [T].
    methods : sequence of str
        Labels of the harmonizers that write images.
    subjects : sequence of str
        All subject labels.
    contrasts : sequence of str
        Suffixes of the images.
    sites : mapping, optional
        Subject -> the one session of that subject; without it everybody has all sessions.
    known : sequence of str
        Further columns of the participants: ``diagnosis``, ``site``, ``lesions`` [mL].
    planted : mapping, optional
        Effects that the cohort's description plants.
    """
    texts: dict[str, bytes] = {
        "dataset_description.json": pretty_json(_description(title, authors, "raw")),
        "README": _readme(name, title, description, sessions, methods, bool(sites)).encode(),
        "CHANGES": f"{_FIRST_RELEASE} {_FIRST_DATE}\n  - Simulated by mrsim {__version__}.\n".encode(),
        ".bidsignore": b"report.html\nscores.tsv\n",
        "participants.tsv": participants_table(participants, subjects, known),
        "participants.json": pretty_json(
            {key: text for key, text in PARTICIPANT_COLUMNS.items() if key in (*STANDARD_COLUMNS, *known)}
        ),
        "sessions.json": pretty_json(SESSION_COLUMNS),
        planted_path(): pretty_json(dict(planted or {})),
    }
    for method in (TRUTH, *methods):
        check_label("method", method)
        texts[f"derivatives/{method}/dataset_description.json"] = pretty_json(
            _description(f"{title}: {method}", authors, "derivative")
        )
        texts[f"derivatives/{method}/README"] = _derivative_readme(title, method).encode()
    for method in methods:
        for contrast in contrasts:
            texts[_method_sidecar(method, contrast)] = pretty_json(
                {
                    "Description": f"Harmonized by {method}, in the frame of the subject's head",
                    "SkullStripped": False,
                }
            )
    for subject in subjects:
        check_label("subject", subject)
        own = sessions if not sites else {sites[subject]: sessions[sites[subject]]}
        for label in own:
            check_label("session", label)
        texts[f"sub-{subject}/sub-{subject}_sessions.tsv"] = sessions_table(own)
    for path, content in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _description(title: str, authors: Sequence[str], kind: str) -> dict[str, Any]:
    named = [*authors, "The mrsim developers"] if len(authors) < 2 else list(authors)
    description: dict[str, Any] = {
        "Name": title,
        "BIDSVersion": BIDS_VERSION,
        "HEDVersion": "8.3.0",
        "DatasetType": kind,
        "License": LICENSE,
        "Authors": named if len(named) > 1 else ["mrsim (simulated data)", *named],
        "GeneratedBy": [
            {
                "Name": "mrsim",
                "Version": __version__,
                "Description": "Simulated MRI",
            }
        ],
    }
    if kind == "raw":
        description["SourceDatasets"] = [
            {"URL": "https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/", "Version": "2009c"}
        ]
    else:
        description["SourceDatasets"] = [{"URL": "../../"}]
    return description


def _method_sidecar(method: str, contrast: str) -> str:
    """Path of what holds for all images of a method and a contrast (BIDS inheritance)."""
    return f"derivatives/{method}/desc-{method}_{contrast}.json"


def _derivative_readme(title: str, name: str) -> str:
    if name == TRUTH:
        return f"""The truth behind {title!r}: for each subject, age, sex, volumes in mL and tissue values
as they were simulated (sourcedata/sub-*_truth.json). No algorithm estimated them. The effects of age, sex
and diagnosis that the cohort's description plants are in sourcedata/planted_effects.json.
"""
    return f"""Images of {title!r} after the harmonizer {name!r},
resampled to the frame of each subject's head.
The images before are in the dataset two folders up; the parameters are in code/study.resolved.json.
"""


def _readme(
    name: str,
    title: str,
    description: str,
    sessions: Mapping[str, Mapping[str, Any]],
    methods: Sequence[str],
    nested: bool,
) -> str:
    scanners = "\n".join(
        f"* ses-{label}: {record.get('manufacturer', '?')} {record.get('model', '?')}, "
        f"{record.get('field_strength', '?')} T"
        for label, record in sessions.items()
    )
    harmonizers = ", ".join(methods) or "none"
    what, where = (
        (" of traveling subjects", "every scanner") if not nested else ("", "one scanner of several")
    )
    return f"""{title}
{"=" * len(title)}

Simulated MRI{what}: every subject was scanned on {where}, and the truth is known.
No person was scanned. Study: {name}; made by mrsim {__version__}.

{description}

Scanners (sessions)
-------------------

{scanners}

Where things are
----------------

* sub-*/: reconstructed images, one session per scanner
* derivatives/{TRUTH}/: what the subjects truly are: age, sex, regional volumes, tissue values
* derivatives/<method>/: harmonized images (methods: {harmonizers})
* code/: the study file, the study with all defaults, the plan
* report.html: scores and pictures
"""
