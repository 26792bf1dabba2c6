"""The recipe: scanners, cards and their sources, versions and hashes, and the methods in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .data import ReportData, field_strength, number
from .words import counted, listed, trimmed

Record = Mapping[str, Any]

CITATIONS: dict[str, str] = {
    "anatomy": "Fonov V et al. Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 54 "
    "(2011) 313-327.",
    "pulseq": "Layton KJ et al. Pulseq: a rapid and hardware-independent pulse sequence prototyping "
    "framework. Magn Reson Med 77 (2017) 1544-1552.",
    "ismrmrd": "Inati SJ et al. ISMRM Raw data format: a proposed standard for MRI raw datasets. Magn Reson "
    "Med 77 (2017) 411-421.",
    "epg": "Weigel M. Extended phase graphs: dephasing, RF pulses, and echoes. J Magn Reson Imaging 41 "
    "(2015) 266-295.",
    "ssim": "Wang Z et al. Image quality assessment: from error visibility to structural similarity. IEEE "
    "Trans Image Process 13 (2004) 600-612.",
    "combat": "Johnson WE et al. Biostatistics 8 (2007) 118-127, doi:10.1093/biostatistics/kxj037; Fortin JP "
    "et al. NeuroImage 161 (2017) 149-170, doi:10.1016/j.neuroimage.2017.08.047.",
    "nyul": "Nyúl LG et al. IEEE Trans Med Imaging 19 (2000) 143-150, doi:10.1109/42.836373.",
    "whitestripe": "Shinohara RT et al. NeuroImage Clin 6 (2014) 9-19, doi:10.1016/j.nicl.2014.08.008.",
    "zscore": "Reinhold JC et al. Evaluating the impact of intensity normalization on MR image synthesis. "
    "Proc SPIE 10949 (2019), doi:10.1117/12.2513089.",
}
_ALWAYS = ("pulseq", "ismrmrd", "epg", "ssim")


def scanner_rows(data: ReportData) -> list[dict[str, str]]:
    """Return one row per scanner, reference first."""
    repeats = {str(s.get("label")): s.get("repeats", 1) for s in data.study.get("scanners", ())}
    rows = []
    for label in data.sessions:
        record = data.scanners[label]
        field, receive = field_strength(record), _group(record, "receive")
        rows.append(
            {
                "label": label,
                "vendor": str(record.get("vendor") or record.get("manufacturer") or "–"),
                "model": str(record.get("model") or "–"),
                "field": f"{field:.2f} T" if math.isfinite(field) else "–",
                "coil": _coil(receive),
                "recon": _reconstruction(data, label),
                "repeats": str(repeats.get(label, 1)),
            }
        )
    return rows


def _coil(receive: Record) -> str:
    name, loops = receive.get("coil"), receive.get("simulated_channels")
    return f"{name or 'coil'}, {loops} simulated loops" if loops else str(name or "–")


def _reconstruction(data: ReportData, label: str) -> str:
    settings = dict(_group(data.scanners[label], "recon"))
    asked = data.study.get("recon") or {}
    own = (asked.get("scanners") or {}).get(label) or {}
    for given in (asked, own):
        settings |= {k: v for k, v in given.items() if isinstance(v, str) and v != "native"}
    names = ("combine", "acceleration", "partial_fourier", "intensity_correction")
    said = [
        str(settings[n]).replace("_", " ") for n in names if settings.get(n) not in (None, "none", "native")
    ]
    return ", ".join(said) or "–"


def card_rows(data: ReportData) -> list[dict[str, str]]:
    """Return one row per scanner and contrast: what the card says, in a clinic's units."""
    rows = []
    for key in sorted(data.cards, key=lambda k: _card_order(data, k)):
        card = data.cards[key]
        label, _, contrast = key.partition("/")
        timing, geometry, accel = (_group(card, g) for g in ("timing", "geometry", "acceleration"))
        rows.append(
            {
                "scanner": label,
                "contrast": contrast,
                "card": str(card.get("name", "–")),
                "sequence": str(card.get("sequence", "–")).upper(),
                "tr": _ms(timing.get("tr")),
                "te": _ms(timing.get("te")),
                "ti": _ms(timing.get("ti")),
                "flip": trimmed(number(_group(card, "rf").get("flip_deg"))),
                "bandwidth": trimmed(number(_group(card, "readout").get("bandwidth"))),
                "factor": trimmed(number(accel.get("phase"))),
                "matrix": _times([trimmed(number(v), 4) for v in geometry.get("matrix", ())]),
                "voxel": _voxel(geometry),
                "verified": _verified(card),
            }
        )
    return rows


def _card_order(data: ReportData, key: str) -> tuple[int, int, str]:
    label, _, contrast = key.partition("/")
    sessions, contrasts = data.sessions, data.contrasts
    return (
        contrasts.index(contrast) if contrast in contrasts else len(contrasts),
        sessions.index(label) if label in sessions else len(sessions),
        key,
    )


def _voxel(geometry: Record) -> str:
    fov, matrix = geometry.get("fov") or (), geometry.get("matrix") or ()
    if len(fov) != len(matrix) or not fov:
        return "–"
    return _times([trimmed(1e3 * number(f) / number(m), 2) for f, m in zip(fov, matrix, strict=True)])


def _times(values: list[str]) -> str:
    return " × ".join(values) or "–"


def _ms(seconds: Any) -> str:
    return trimmed(1e3 * number(seconds), 4)


def _verified(record: Record) -> str:
    sources = [s for s in (record.get("provenance") or {}).values() if isinstance(s, Mapping)]
    if not sources:
        return "no sources given"
    return f"{sum(bool(s.get('verified')) for s in sources)} of {len(sources)}"


def unverified(data: ReportData) -> list[tuple[str, str, str]]:
    """Return (record, group of values, what is said of its source) of everything not verified."""
    seen = {}
    records = [(str(r.get("name", k)), r) for k, r in [*data.scanners.items(), *data.cards.items()]]
    for name, record in records:
        for group, source in (record.get("provenance") or {}).items():
            if isinstance(source, Mapping) and not source.get("verified", False):
                seen[name, str(group)] = str(source.get("source") or "no source")
    return [(name, group, text) for (name, group), text in sorted(seen.items())]


def flat(record: Record, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested data as sorted (dotted key, text)."""
    rows: list[tuple[str, str]] = []
    for key in sorted(record, key=str):
        value, name = record[key], f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += flat(value, f"{name}.") if value else [(name, "–")]
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, Mapping) for v in value):
            for i, entry in enumerate(value, 1):
                rows += flat(entry, f"{name}[{i}].")
        else:
            rows.append((name, _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(v) for v in value) or "–"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def boilerplate(data: ReportData) -> tuple[list[str], list[str]]:
    """Return paragraphs for a methods section, and the papers they rest on."""
    cohort, seed = data.study.get("cohort") or {}, data.recipe.get("seed")
    version = data.recipe.get("version") or (data.recipe.get("versions") or {}).get("mrsim")
    anatomy = str(cohort.get("anatomy", ""))
    used = [*(["anatomy"] if "icbm" in anatomy else []), *_ALWAYS]
    people = data.people or "Some"
    scanners = [f"{r['vendor']} {r['model']} ({r['field']})" for r in scanner_rows(data)]
    texts = [
        f"Data were simulated with mrsim{f' {version}' if version else ''}"
        f"{f' (seed {seed})' if seed is not None else ''}. {people} subjects with known tissue fractions, "
        f"regional volumes, age and sex{f' were deformed from the {anatomy} head' if anatomy else ''}, and "
        f"{_who_was_where(data, len(scanners))}: {listed(scanners)}. Contrasts: "
        f"{listed(list(data.contrasts)) or 'none'}. Each scanner played its own protocol as a Pulseq "
        "sequence; magnetization histories came from extended phase graphs, raw data (ISMRMRD) were encoded "
        "exactly on a phantom grid finer than the image grid and carried coil sensitivities, field "
        "inhomogeneity and correlated noise, and were reconstructed with the settings of each vendor.",
        "The truth of every image is the same subject under the reference scanner "
        f"({data.reference or 'none'}). The mean squared error of harmonized images against it was split, "
        "per site, into site shift and gain (fixed, left), lost or inflated differences between people "
        "(destroyed, invented) and residue; intervals are jackknife intervals over subjects. Site probes "
        "were trained on each harmonizer's own output, judged on unseen subjects, and "
        "shown beside their shuffled-label null.",
    ]
    names = [m for m in data.methods if m != "raw"]
    if names:
        texts.append(
            f"Harmonizers: {listed(names)}. Controls, which must not win: "
            f"{listed([m for m in names if data.control(m)]) or 'none'}."
        )
    for name in sorted({data.harmonizer(m) for m in names}):
        used += [key for key in CITATIONS if key == name]
    return texts, [CITATIONS[key] for key in dict.fromkeys(used)]


def _who_was_where(data: ReportData, scanners: int) -> str:
    if data.nested:
        return f"every subject was scanned on one of {counted(scanners, 'scanner')} (design: {data.design})"
    return f"every subject was scanned on {counted(scanners, 'scanner')}"


def _group(record: Record, name: str) -> Record:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
