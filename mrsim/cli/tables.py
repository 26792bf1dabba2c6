"""What is printed: tables and sizes, with rich imported only when something is shown."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console() -> "Console":
    """Return the console for results (standard output)."""
    from rich.console import Console

    # A pipe has no width of its own; columns folded to 80 characters are of no use to grep.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(highlight=False, width=width)


def table(title: str, columns: Sequence[str], *, right: Iterable[str] = ()) -> "Table":
    """Return an empty table in the style of all our tables."""
    from rich import box
    from rich.table import Table

    made = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, header_style="bold cyan"
    )
    numbers = set(right)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in numbers else "left",
            overflow="fold",
            no_wrap=column == columns[0],
        )
    return made


def spelled_bytes(size: float) -> str:
    """Return a size for people: ``820 MB``, ``3.1 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def print_record(title: str, record: Mapping[str, Any]) -> None:
    """Print nested plain data as a two-column listing of key paths and values."""
    from rich.table import Table

    out = console()
    out.print(f"[bold]{title}[/]", soft_wrap=True)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in flatten(record):
        grid.add_row(key, value)
    out.print(grid)


def flatten(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return rows of key path and shown value; tables in lists are numbered as in messages, from 0."""
    from rich.markup import escape

    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            rows += flatten({f"{key}.{number}": item for number, item in enumerate(value)}, prefix)
        elif value not in (None, "", [], ()):
            rows.append((escape(f"{prefix}{key}"), escape(_shown(value))))
    return rows


def _shown(value: object) -> str:
    """Spell a value as a study file would."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return str(value)
