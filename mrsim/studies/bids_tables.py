"""The tables of the dataset: who took part, and in which sessions."""

from collections.abc import Mapping, Sequence
from typing import Any

SESSION_KEYS = ("manufacturer", "model", "software", "station", "institution")
"""What a session table tells of a scanner record, and under which heading."""
STANDARD_COLUMNS = ("age", "sex", "icv")
"""Columns of every table of participants."""
PARTICIPANT_COLUMNS = {
    "age": {"Description": "Age at the scans", "Units": "year"},
    "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
    "icv": {"Description": "True intracranial volume", "Units": "mL"},
    "diagnosis": {
        "Description": "Diagnosis",
        "Levels": {
            "control": "no diagnosis",
            "mci": "mild cognitive impairment",
            "ad": "Alzheimer's disease",
            "wml": "high load of white-matter lesions",
        },
    },
    "site": {"Description": "The one scanner (session) that this subject was scanned on"},
    "lesions": {"Description": "True volume of white-matter lesions", "Units": "mL"},
}
SESSION_COLUMNS = {
    "manufacturer": {"Description": "Manufacturer of the simulated scanner"},
    "model": {"Description": "Model of the simulated scanner"},
    "software": {"Description": "Software version"},
    "station": {"Description": "Name that tells this machine from others of its model"},
    "institution": {"Description": "Where the machine stands"},
    "field_strength": {"Description": "Main field", "Units": "T"},
}
_FORMATS = {"age": ".1f", "icv": ".1f", "lesions": ".3f"}


def participants_table(
    participants: Sequence[Mapping[str, Any]], subjects: Sequence[str], known: Sequence[str] = ()
) -> bytes:
    """Return ``participants.tsv``: the standard columns and those that are known of this cohort."""
    found = {str(entry["subject"]): entry for entry in participants}
    columns = (*STANDARD_COLUMNS, *known)
    rows: list[tuple[str, ...]] = [("participant_id", *columns)]
    for subject in subjects:
        entry = found.get(subject, {})
        rows.append((f"sub-{subject}", *(_value(entry.get(name), _FORMATS.get(name)) for name in columns)))
    return _table(rows)


def sessions_table(sessions: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the table of some sessions: one row per scanner."""
    columns = ("session_id", *SESSION_KEYS, "field_strength")
    rows: list[tuple[str, ...]] = [columns]
    for label, record in sessions.items():
        rows.append((f"ses-{label}", *(_cell(record.get(key)) for key in columns[1:])))
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def _value(value: object, form: str | None) -> str:
    if form is None:
        return _cell(value)
    return format(float(value), form) if isinstance(value, int | float) else "n/a"


def _cell(value: object) -> str:
    text = " ".join(str(value).split()) if value is not None else ""
    return text or "n/a"
