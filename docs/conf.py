"""Configuration of the documentation; `make docs` builds it and fails on any warning."""

import re
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402 - beside this file

from mrsim import __version__  # noqa: E402

project = "mrsim"
author = "The mrsim developers"
copyright = "2026, The mrsim developers"
release = version = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_default_options = {"members": True, "imported-members": True, "member-order": "groupwise"}
autodoc_typehints = "none"
# Attributes are listed by the docstrings themselves.
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"mrsim {release}"

# Pages that are written from the code, so that they cannot fall behind it.
generate.write_all(HERE / "generated")

# Docstrings are written for reading in the source: a class lists its fields as "name : meaning" lines before
# any section, and signs such as |x| or a * b mean themselves.
_FIELD = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*) : (.*)")
_PLAIN = re.compile(r"(``.*?``|`.*?`|:math:`.*?`|\*\*?\w[^*]*\w\*\*?(?!\w))")
warnings.filterwarnings("ignore", message="Unknown section", category=UserWarning)


def _as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn field lines into a list, and escape signs that reStructuredText would read as markup."""
    out: list[str] = []
    section = math = listing = False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        section |= bool(re.fullmatch(r"-{3,}", following.strip()))
        math = line.lstrip().startswith(".. math") or (math and (not line.strip() or line.startswith(" ")))
        if not math:
            parts = _PLAIN.split(line)
            parts[::2] = [re.sub(r"(?<!\\)([|*])", r"\\\1", part) for part in parts[::2]]
            line = "".join(parts)
        field = None if section else _FIELD.match(line)
        if field:
            out += [] if listing else [""]
            line = f"* **{field[1]}**: {field[2]}"
        elif listing and line.startswith("  "):
            line = "  " + line.strip()
        listing = bool(field) or (listing and line.startswith("  "))
        out.append(line)
    lines[:] = out


def setup(app: Any) -> None:
    """Run before numpydoc, which has priority 500."""
    app.connect("autodoc-process-docstring", _as_rst, priority=100)
