"""Studies: one TOML file becomes a plan of cells, and a run that can be stopped, resumed and trusted.

Names are resolved on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build_plan import plan_study
    from .installed import InstalledLibraries
    from .libraries import Libraries
    from .plan import Cell, Plan, PlanBuilder, PlanError
    from .problems import InputError, Problem
    from .project import Prepared, Status, prepare, read_status, rebuild_report, run_study
    from .runner import RunOptions, RunResult, run_plan
    from .stage import Cost, Failure, Stage, StageContext
    from .study import Study
    from .study_input import check_study, load_study

_HOME = {
    "Cell": "plan",
    "Cost": "stage",
    "Failure": "stage",
    "InputError": "problems",
    "InstalledLibraries": "installed",
    "Libraries": "libraries",
    "Plan": "plan",
    "PlanBuilder": "plan",
    "PlanError": "plan",
    "Prepared": "project",
    "Problem": "problems",
    "RunOptions": "runner",
    "RunResult": "runner",
    "Stage": "stage",
    "StageContext": "stage",
    "Status": "project",
    "Study": "study",
    "check_study": "study_input",
    "load_study": "study_input",
    "plan_study": "build_plan",
    "prepare": "project",
    "read_status": "project",
    "rebuild_report": "project",
    "run_plan": "runner",
    "run_study": "project",
}

__all__ = [
    "Cell",
    "Cost",
    "Failure",
    "InputError",
    "InstalledLibraries",
    "Libraries",
    "Plan",
    "PlanBuilder",
    "PlanError",
    "Prepared",
    "Problem",
    "RunOptions",
    "RunResult",
    "Stage",
    "StageContext",
    "Status",
    "Study",
    "check_study",
    "load_study",
    "plan_study",
    "prepare",
    "read_status",
    "rebuild_report",
    "run_plan",
    "run_study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
