"""What is said when a phantom file is absent, or is not as it must be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .phantom import PhantomError


class PhantomFileError(ValueError):
    """A phantom file is damaged, unsafe or of another format."""


def present_file(path: str | Path) -> Path:
    """Return the path of a file that is there, or raise `FileNotFoundError`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"phantom file {path} must exist; nothing found there.")
    return path


@contextmanager
def blamed_on(path: Path, rule: str) -> Iterator[None]:
    """Turn a `PhantomError` into a `PhantomFileError` that names the file and the rule it breaks."""
    try:
        yield
    except PhantomError as error:
        raise PhantomFileError(f"{path}: {rule}; {error}") from error
