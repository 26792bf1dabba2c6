"""list and show: what is in the libraries."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Debug

if TYPE_CHECKING:
    from rich.table import Table


class Kind(StrEnum):
    """Libraries."""

    scanners = "scanners"
    protocols = "protocols"
    harmonizers = "harmonizers"
    phantoms = "phantoms"
    studies = "studies"


def list_library(
    kind: Annotated[Kind, typer.Argument(help="Which library.", show_default=False)], debug: Debug = False
) -> None:
    """List what a library holds."""
    from .tables import console

    console().print(_LISTS[kind]())


def _scanners() -> "Table":
    from protocols import list_scanners, load_scanner

    from .tables import table

    shown = table("Scanners", ("name", "vendor", "model", "field", "coil", "software"), right=("field",))
    for name in list_scanners():
        record = load_scanner(name)
        shown.add_row(
            name, record.vendor, record.model, f"{record.b0:.2f} T", record.receive.coil, record.software
        )
    return shown


def _protocols() -> "Table":
    from protocols import list_protocols, load_protocol

    from .tables import table

    columns = ("name", "contrast", "sequence", "TR", "TE", "TI", "flip", "voxel")
    shown = table("Protocols (times in ms, voxels in mm)", columns, right=columns[3:])
    for name in list_protocols():
        card = load_protocol(name)
        timing = card.timing
        shown.add_row(
            name,
            card.suffix,
            card.sequence,
            f"{1e3 * timing.tr:.4g}",
            f"{1e3 * timing.te:.3g}",
            "" if timing.ti is None else f"{1e3 * timing.ti:.4g}",
            f"{card.rf.flip_deg:g}°",
            "x".join(f"{1e3 * edge:.2g}" for edge in card.geometry.voxel_size),
        )
    return shown


def _harmonizers() -> "Table":
    from mrsim.harmonizers import list_harmonizers

    from .tables import table

    shown = table("Harmonizers", ("name", "takes", "what it does"))
    for info in list_harmonizers():
        shown.add_row(info.name, _taken(info.kind), info.summary)
    return shown


def _phantoms() -> "Table":
    from phantoms import describe_phantom, phantom_names

    from .tables import table

    shown = table("Phantoms", ("name", "kind", "what it is", "licence"))
    for name in phantom_names():
        entry = describe_phantom(name)
        shown.add_row(name, entry.kind, entry.description, entry.licence)
    return shown


def _studies() -> "Table":
    from mrsim.studies.installed import InstalledLibraries
    from mrsim.studies.study_input import load_study
    from mrsim.studies.template import study_path

    from .tables import table

    shown = table("Studies", ("name", "subjects", "scanners", "contrasts", "what it is"), right=("subjects",))
    for name in InstalledLibraries().names("studies"):
        study = load_study(study_path(name))
        shown.add_row(
            name,
            str(study.cohort.subjects),
            ", ".join(scanner.label for scanner in study.scanners),
            ", ".join(protocol.contrast for protocol in study.protocols),
            study.study.description,
        )
    return shown


_LISTS = {
    Kind.scanners: _scanners,
    Kind.protocols: _protocols,
    Kind.harmonizers: _harmonizers,
    Kind.phantoms: _phantoms,
    Kind.studies: _studies,
}


def show(
    name: Annotated[str, typer.Argument(help="Name of anything that mrsim list shows.", show_default=False)],
    debug: Debug = False,
) -> None:
    """Show everything known of one scanner, protocol, harmonizer, phantom or study."""
    from mrsim.studies.installed import InstalledLibraries
    from mrsim.studies.problems import InputError, did_you_mean
    from phantoms import phantom_names

    from .tables import print_record

    libraries = InstalledLibraries()
    known: dict[str, str] = {}
    for kind in Kind:
        known |= dict.fromkeys(libraries.names(kind.value), kind.value)
    known |= dict.fromkeys(phantom_names(), Kind.phantoms.value)
    if name not in known:
        raise InputError.single(file=name, cause="is in no library", remedy=did_you_mean(name, list(known)))
    kind_name = known[name]
    singular = "study" if kind_name == Kind.studies else kind_name.removesuffix("s")
    units = "; SI units where the name gives none" if kind_name in {Kind.scanners, Kind.protocols} else ""
    print_record(f"{name} ({singular}{units})", _record(name, kind_name))
    if kind_name == Kind.harmonizers:
        _print_about(name)


def _print_about(name: str) -> None:
    """Print what a method's documentation says below its first line, as it is laid out there."""
    import inspect

    from mrsim.harmonizers import harmonizer_class

    print((inspect.getdoc(harmonizer_class(name)) or "").partition("\n")[2].rstrip())


def _record(name: str, kind: str) -> dict[str, Any]:
    from mrsim.studies.installed import InstalledLibraries

    libraries = InstalledLibraries()
    if kind == "scanners":
        return libraries.scanner(name, {})
    if kind == "protocols":
        return libraries.card(name, None)
    if kind == "harmonizers":
        return _harmonizer_record(name)
    if kind == "studies":
        from mrsim.studies.study_input import load_study
        from mrsim.studies.template import study_path

        return load_study(study_path(name)).record()
    return _phantom_record(name)


def _phantom_record(name: str) -> dict[str, Any]:
    from phantoms import describe_phantom

    entry = describe_phantom(name)
    return {
        "what": entry.description,
        "kind": entry.kind,
        "source": entry.source,
        "licence": entry.licence,
        "options": {k: "none" if v is None else v for k, v in entry.options.items()},
        "next": f"mrsim phantom show {name} --out {name}.png",
    }


def _taken(kind: str) -> str:
    return "diffusion scans" if kind == "diffusion" else f"{kind}s"


def _harmonizer_record(name: str) -> dict[str, Any]:
    from mrsim.harmonizers import harmonizer, list_harmonizers

    info = next(info for info in list_harmonizers() if info.name == name)
    return {
        "takes": _taken(info.kind),
        "summary": info.summary,
        "parameters": {
            key: "none" if value is None else value for key, value in harmonizer(name).get_params().items()
        },
    }
