"""Run all benchmarks, or those named: ``python -m benchmarks [cli encode ...]``."""

import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .measure import Row, SkippedBenchmark, machine

ALL = (
    "cli",
    "encode",
    "epg",
    "scan",
    "mprage",
    "cohort",
    "combat",
    "ismrmrd",
    "bloch",
    "bloch_koma",
    "bloch_peers",
)
RESULTS = Path(__file__).with_name("results.json")


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(ALL)}")
    console = Console()
    where = machine()
    rows: dict[str, list[Row]] = {}
    skipped: dict[str, str] = {}
    for name in names or ALL:
        console.print(f"[dim]{name} ...[/]")
        try:
            rows[name] = import_module(f".bench_{name}", __package__).run()
        except SkippedBenchmark as reason:
            skipped[name] = str(reason)
    table = Table("benchmark", "job", "value", "unit", "ratio", "against", box=None, header_style="bold")
    for column in (2, 4):
        table.columns[column].justify = "right"
    for name, found in rows.items():
        for row in found:
            ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
            table.add_row(name, row.job, f"{row.value:.3g}", row.unit, ratio, row.against)
    console.print(table)
    for name, reason in skipped.items():
        console.print(f"{name}: skipped, {reason}")
    console.print(f"[dim]{where['cpu']}, {where['cores']} cores, load {where['load'][0]}, {where['date']}[/]")
    record = {
        "machine": where,
        "rows": {k: [asdict(r) for r in v] for k, v in rows.items()},
        "skipped": skipped,
    }
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(RESULTS)
    console.print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main(sys.argv[1:])
