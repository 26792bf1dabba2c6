"""The verbs and their order on the help screen."""

from typing import Annotated

import typer

from .. import __version__
from .attribute_command import attribute
from .guard import guarded
from .library_commands import list_library, show
from .phantom_commands import phantom_app
from .run_commands import report, run, status
from .simulate_command import simulate
from .stage_commands import evaluate, harmonize, recon
from .study_commands import init, plan, validate
from .system_commands import doctor

_STUDY = "A study, from file to report"
_STAGES = "Single stages on standard files"
_LIBRARY = "Libraries and system"

app = typer.Typer(
    name="mrsim",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"mrsim {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Measure what MRI harmonization truly fixes, against a known truth.

    One study file becomes simulated scans of traveling subjects, harmonized images and a report.

    Exit codes: 0 done, 1 some cells failed, 2 bad input (nothing written), 3 interrupted (resumable).
    """


for _verb, _panel in (
    (init, _STUDY),
    (validate, _STUDY),
    (plan, _STUDY),
    (run, _STUDY),
    (status, _STUDY),
    (report, _STUDY),
    (attribute, _STUDY),
    (simulate, _STAGES),
    (recon, _STAGES),
    (harmonize, _STAGES),
    (evaluate, _STAGES),
    (list_library, _LIBRARY),
    (show, _LIBRARY),
    (doctor, _LIBRARY),
):
    app.command(_verb.__name__.removesuffix("_library"), rich_help_panel=_panel)(guarded(_verb))
app.add_typer(phantom_app, name="phantom", rich_help_panel=_LIBRARY)
