"""Runs the small plan in its own process: ``python -m tests.studies.drive OUT JOBS SLEEP [transient]``."""

import sys
from pathlib import Path

from mrsim.studies.output import create_output, locked
from mrsim.studies.progress import PlainLines
from mrsim.studies.runner import RunOptions, run_plan

from .fake_stages import small_plan, stages

if __name__ == "__main__":
    out, jobs, sleep = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    create_output(out, "tiny")
    with locked(out):
        result = run_plan(
            small_plan(sleep=sleep, transient="transient" in sys.argv),
            stages(),
            out,
            RunOptions(jobs=jobs),
            PlainLines(interval=0.0),
        )
    sys.exit(result.exit_code)
