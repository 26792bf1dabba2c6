"""Who took part, as a table that people can read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .data import ReportData, number


def visits(data: ReportData, repeats: Sequence[int]) -> int:
    """Return how often anybody is scanned in one contrast, as planned."""
    if not data.nested:
        return data.people * sum(repeats)
    by_label = {str(s.get("label")): int(s.get("repeats", 1)) for s in data.study.get("scanners", ())}
    return sum(by_label.get(str(person.get("site")), 1) for person in data.participants)


def participants_table(data: ReportData) -> dict[str, Any]:
    """Return the table of people: headings (text, whether a number) and rows."""
    columns = [("subject", "subject", ""), ("age", "age [years]", ".1f"), ("sex", "sex", "")]
    columns += [("icv", "intracranial volume [mL]", ".0f")]
    if len({person.get("diagnosis", "control") for person in data.participants}) > 1:
        columns.append(("diagnosis", "diagnosis", ""))
    if data.nested:
        columns.append(("site", "scanner", ""))
    if any(number(person.get("lesions")) > 0.0 for person in data.participants):
        columns.append(("lesions", "lesions [mL]", ".1f"))
    rows = [tuple(_told(person.get(key), form) for key, _, form in columns) for person in data.participants]
    return {"columns": [(name, bool(form)) for _, name, form in columns], "rows": sorted(rows)}


def _told(value: Any, form: str) -> str:
    if not form:
        return str(value) if value is not None else "–"
    return format(number(value), form) if math.isfinite(number(value)) else "–"
