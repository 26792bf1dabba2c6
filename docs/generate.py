"""Pages written from the code: the study file's keys, the libraries, the public names."""

from __future__ import annotations

import importlib
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

PACKAGES = (
    "phantoms",
    "protocols",
    "mrsim.simulation",
    "mrsim.simulation.bloch",
    "recon",
    "mrsim.harmonizers",
    "mrsim.evaluation",
    "mrsim.evaluation.report",
    "mrsim.studies",
)


def write_all(folder: Path) -> None:
    """Write every generated page; a page that did not change keeps its time stamp."""
    pages = {"study-file.md": study_file(), "library.md": library(), "api/index.md": api_index()}
    pages |= {f"api/{package}.rst": api_page(package) for package in PACKAGES}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# The study file -----------------------------------------------------------------------------------------


def study_file() -> str:
    """Every key of a study file, from the models that read it."""
    from mrsim.studies.study import Study

    parts = [
        "# The study file\n",
        "A study is one TOML file. Unknown keys are refused with the nearest known one, all problems come at "
        "once with their place, and nothing is converted: text stays text, whole numbers stay whole. "
        "`mrsim init FILE` writes a commented example, `mrsim validate FILE` checks one.\n",
    ]
    for name, field in Study.model_fields.items():
        model, many = _section(field.annotation)
        brackets = f"[[{name}]]" if many else f"[{name}]"
        parts.append(f"## `{brackets}`\n")
        about = (model.__doc__ or "").partition(":")[2].strip().replace("``", "`")
        parts.append(about[:1].upper() + about[1:] + "\n")
        if not field.is_required():
            parts.append("May be left out.\n")
        parts.append(table(_HEADER, _keys(model)) + "\n")
        for key, inner in model.model_fields.items():
            if isinstance(inner.annotation, type) and issubclass(inner.annotation, BaseModel):
                about = (inner.annotation.__doc__ or "").partition(":")[2].strip()
                parts.append(f"### `[{name}.{key}]`\n\n{about[:1].upper() + about[1:]}\n")
                parts.append(table(_HEADER, _keys(inner.annotation)) + "\n")
    return "\n".join(parts)


_HEADER = ("key", "type", "default", "bounds", "meaning")


def _section(annotation: Any) -> tuple[type[BaseModel], bool]:
    """Model of a section, and whether it is an array of tables."""
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0], True
    return annotation, False


def _keys(model: type[BaseModel]) -> list[tuple[str, ...]]:
    rows = []
    for key, field in model.model_fields.items():
        bounds = ", ".join(text for item in field.metadata if (text := _bound(item)))
        if field.is_required():
            default = "required"
        elif field.default in (PydanticUndefined, None) or isinstance(field.default, BaseModel):
            default = "absent"
        else:
            default = f"`{_toml(field.default)}`"
        rows.append((f"`{key}`", _type(field.annotation), default, bounds, field.description or ""))
    return rows


_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}


def _bound(item: Any) -> str:
    found = [f"{sign} {getattr(item, name)}" for name, sign in _BOUNDS.items() if hasattr(item, name)]
    return ", ".join(found)


_WORDS = {str: "text", int: "whole number", float: "number", bool: "truth value", dict: "table"}


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    if origin is typing.Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin is tuple:
        kinds = [a for a in arguments if a is not Ellipsis]
        return f"list of {_type(kinds[0])}" + (f" ({len(kinds)})" if Ellipsis not in arguments else "")
    if origin is dict:
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return _WORDS.get(annotation, str(annotation))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return str(value)


# The libraries ------------------------------------------------------------------------------------------


def library() -> str:
    """Scanners, cards, tissues and harmonizers that come with the package."""
    return "\n".join(
        ["# What the libraries hold\n", _scanners(), _cards(), _harmonizers(), _tissues(), _studies()]
    )


def _scanners() -> str:
    from protocols import list_scanners, load_scanner

    rows = []
    for name in list_scanners():
        s = load_scanner(name)
        row = (f"`{name}`", s.manufacturer, s.model, f"{s.b0:.2f}", s.receive.coil, s.gradients.coil)
        rows.append(row)
    header = ("name", "vendor", "model", "B0 [T]", "receive coil", "gradient coil")
    return "## Scanners\n\n" + table(header, rows) + "\n\n" + _coils()


def _coils() -> str:
    from protocols import list_coils, load_coil

    rows = []
    for name in list_coils():
        c = load_coil(name)
        rows.append((f"`{name}`", c.description, "yes" if c.synthetic else "no"))
    return "## Gradient coils\n\n" + table(("name", "what it stands for", "synthetic"), rows) + "\n"


def _cards() -> str:
    from protocols import list_protocols, load_protocol

    rows = []
    for name in list_protocols():
        p = load_protocol(name)
        size = " × ".join(f"{1e3 * v:.3g}" for v in p.geometry.voxel_size)
        assumed = sorted(key for key, entry in p.provenance.items() if not entry.verified)
        ti = "" if p.timing.ti is None else f"{1e3 * p.timing.ti:g}"
        rows.append(
            (f"`{name}`", p.suffix, p.sequence, f"{1e3 * p.timing.tr:g}", f"{1e3 * p.timing.te:.4g}", ti,
             f"{p.rf.flip_deg:g}", size, ", ".join(assumed))
        )  # fmt: skip
    header = (
        "name",
        "contrast",
        "sequence",
        "TR [ms]",
        "TE [ms]",
        "TI [ms]",
        "flip [°]",
        "voxel [mm]",
        "assumed",
    )
    return (
        "## Exam cards\n\nWhat stands under *assumed* was not found in a source that was opened; the record "
        "says what was assumed and why.\n\n" + table(header, rows) + "\n"
    )


def _harmonizers() -> str:
    from mrsim.harmonizers import list_harmonizers

    rows = [
        (
            f"`{h.name}`",
            h.kind,
            h.summary.replace("``", "`"),
            ", ".join(f"`{k}={v!r}`" for k, v in h.parameters.items()),
        )
        for h in list_harmonizers()
    ]
    return "## Harmonizers\n\n" + table(("name", "kind", "what it does", "parameters"), rows) + "\n"


def _tissues() -> str:
    from phantoms import default_tissue_table

    rows = []
    for name in default_tissue_table().names:
        row = [f"`{name}`"]
        for b0 in (1.5, 3.0):
            t = default_tissue_table().at(name, b0)
            row += [f"{1e3 * t.t1:.0f}", f"{1e3 * t.t2:.3g}", f"{1e3 * t.t2_star:.3g}"]
        row += [f"{t.pd:g}", f"{t.chi:g}", "yes" if t.verified else "no"]
        rows.append(tuple(row))
    header = (
        "tissue", "T1 1.5 T [ms]", "T2", "T2*", "T1 3 T [ms]", "T2", "T2*", "density", "χ [ppm]",
        "3 T sources opened",
    )  # fmt: skip
    return (
        "## Tissues\n\nValues of `phantoms/data/tissues.toml`, where each has its source.\n\n"
        + table(header, rows)
        + "\n"
    )


def _studies() -> str:
    folder = Path(importlib.import_module("mrsim.studies").__file__ or "").parent / "library"
    rows = []
    for path in sorted(folder.glob("*.toml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        rows.append((f"`{path.stem}`", first))
    return "## Studies\n\n" + table(("name", "what it is"), rows) + "\n"


# The interfaces -----------------------------------------------------------------------------------------


def api_index() -> str:
    """Table of contents of the interfaces."""
    entries = "\n".join(PACKAGES)
    return (
        "# Interfaces\n\nAll public names, by package. What is not listed here may change without notice.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    )


def api_page(package: str) -> str:
    """One page per package: its own words, then every public name in the order of ``__all__``."""
    module = importlib.import_module(package)
    lines = [package, "=" * len(package), "", f".. automodule:: {package}", "   :no-members:", ""]
    lines += [f".. currentmodule:: {package}", ""]
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type):
            lines.append(f".. autoclass:: {name}")
        elif callable(value):
            lines.append(f".. autofunction:: {name}")
        else:
            lines.append(f".. autodata:: {name}\n   :no-value:")
        lines.append("")
    return "\n".join(lines)
