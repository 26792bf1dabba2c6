"""Study files that come with the package: the template, and ready studies by name."""

import importlib.resources
from pathlib import Path

from .problems import InputError, did_you_mean


def template_text() -> str:
    """Return the commented study file that `mrsim init` writes."""
    return (importlib.resources.files("mrsim.studies") / "templates" / "study.toml").read_text(
        encoding="utf-8"
    )


def study_path(name: str) -> Path:
    """Return the path of a study: a file, or the name of one in the library.

    Raises
    ------
    InputError
        When there is neither.
    """
    path = Path(name)
    if path.is_file() or path.suffix or len(path.parts) != 1:
        return path  # the reader says what is wrong with it
    library = Path(str(importlib.resources.files("mrsim.studies") / "library"))
    found = library / f"{name}.toml"
    if found.is_file():
        return found
    known = sorted(entry.stem for entry in library.glob("*.toml")) if library.is_dir() else []
    raise InputError.single(
        file=name, cause="is neither a file nor a study of the library", remedy=did_you_mean(name, known)
    )
