"""What it costs to ask the command line for help; target: below 0.3 CPU-s."""

import sys
from pathlib import Path

from .measure import Row, child_cpu_seconds


def run() -> list[Row]:
    mrsim = str(Path(sys.executable).with_name("mrsim"))
    bare = child_cpu_seconds([sys.executable, "-c", "pass"])
    rows = [Row(job="python -c pass", value=bare, unit="CPU-s")]
    for words in (["--help"], ["run", "--help"], ["list", "scanners"]):
        seconds = child_cpu_seconds([mrsim, *words])
        rows.append(
            Row(
                job=f"mrsim {' '.join(words)}",
                value=seconds,
                unit="CPU-s",
                ratio=seconds / bare,
                against="python -c pass",
            )
        )
    return rows
