"""Small stages for testing the engine; module-level, so that worker processes find them."""

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np

from mrsim.studies.plan import Plan, PlanBuilder
from mrsim.studies.stage import Cost, Stage, StageContext


def _maybe_misbehave(context: StageContext) -> None:
    time.sleep(float(context.params.get("sleep", 0)))
    flag = context.params.get("flag")
    what = context.params.get("do")
    if what is None or (flag is not None and not Path(str(flag)).exists()):
        return
    if context.params.get("once"):
        Path(str(flag)).unlink()
    if what == "raise":
        raise ValueError("planted error")
    if what == "enospc":
        (context.out_dir / "half").write_bytes(b"x" * 100)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def draw(context: StageContext) -> None:
    _maybe_misbehave(context)
    values = context.rng.standard_normal(2000).astype(np.float32)
    (context.out_dir / "deep").mkdir()
    (context.out_dir / "deep" / "values.bin").write_bytes(values.tobytes())


def mean(context: StageContext) -> None:
    _maybe_misbehave(context)
    values = np.fromfile(context.one("values") / "deep" / "values.bin", dtype=np.float32)
    (context.out_dir / "mean.txt").write_text(f"{values.mean():.9f}\n")


def gather(context: StageContext) -> None:
    _maybe_misbehave(context)
    lines = [
        f"{'-'.join(map(str, key.values()))} {(path / 'mean.txt').read_text()}"
        for key, path in context.keyed("means")
    ]
    lines += [
        f"FAILED {failure.stage} {'-'.join(map(str, failure.key.values()))}: {failure.error}\n"
        for failure in context.failures
    ]
    (context.out_dir / "report.txt").write_text("".join(lines))


def stages(version="1"):
    return {
        "draw": Stage(name="draw", version="1", run=draw, cost=lambda_free_cost),
        "mean": Stage(name="mean", version=version, run=mean),
        "gather": Stage(name="gather", version="1", run=gather),
    }


def lambda_free_cost(params):
    return Cost(core_seconds=0.5, memory=100 << 20, size=8000)


def small_plan(
    subjects=3, sessions=("a", "b"), *, seed=7, special=None, transient=False, version="1", sleep=0.0
):
    """Subjects x sessions of draw -> mean, one gather; `special`: (stage, subject, session) -> params."""
    special = special or {}
    builder = PlanBuilder(stages(version), seed)
    means = []
    for number in range(1, subjects + 1):
        for session in sessions:
            key = {"subject": f"{number:02d}", "session": session}
            pick = lambda stage: {"sleep": sleep} | special.get((stage, key["subject"], session), {})  # noqa: B023, E731
            values = builder.add("draw", key, pick("draw"), transient=transient)
            means.append(
                builder.add(
                    "mean",
                    key,
                    pick("mean"),
                    {"values": values},
                    draws=False,
                    publish={"mean.txt": f"sub-{number:02d}/ses-{session}_mean.txt"},
                )
            )
    builder.add(
        "gather",
        {},
        {},
        {"means": means},
        draws=False,
        allow_failed_inputs=True,
        publish={"report.txt": "report.txt"},
    )
    return builder.plan()


def read_plan(path) -> Plan:
    return Plan.read_jsonl(Path(path))
