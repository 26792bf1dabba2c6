"""Programs as harmonizers: any command that reads a BIDS folder and writes one."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_KNOWN = ("in", "out", "site_column")
_SHOWN_LINES = 8


class ProgramError(ValueError):
    """A harmonizing program could not be started, failed, took too long or wrote too little."""


def run_program(
    command: Sequence[str],
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    site_column: str = "session",
    contrast: str = "T1w",
    timeout: float = 86400.0,
    environment: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """Run a program that harmonizes a BIDS folder; nothing of it becomes a dependency.

    The program sees the source folder and an empty one to write to, which is renamed to `out` once it is
    complete: every image of the contrast must have come back, under its own name or with a ``desc-`` entity.
    No shell takes part, so no character of a path or label is ever read as a command.

    Parameters
    ----------
    command
        Argument list. ``{in}``, ``{out}`` and ``{site_column}`` in its arguments are replaced; ``{in}`` and
        ``{out}`` must occur. Example: ``["docker", "run", "--rm", "-v", "{in}:/data:ro", "-v",
        "{out}:/out", "lab/harmonizer", "/data", "/out"]``.
    source
        Root of the dataset; the program must leave it alone.
    out
        New folder (may exist if it is empty).
    site_column
        ``session``, or a column of participants.tsv, as text for the program.
    contrast
        Suffix of the images that must come back.
    timeout
        Longest time [s]; then the program and its children are ended.
    environment
        Variables in addition to those of this process.

    Returns
    -------
    tuple of Path
        The images under `out`, in the order of the source's.

    Raises
    ------
    ProgramError
        If the program cannot be started, ends with another status than 0, takes too long, or images are
        missing, empty or no longer on their grid; `out` is not made then.
    """
    folder, target = Path(source).absolute(), Path(out).absolute()
    images = sorted(
        path.relative_to(folder)
        for suffix in (".nii", ".nii.gz")
        for path in folder.glob(f"sub-*/**/*_{contrast}{suffix}")
    )
    if not images:
        raise ProgramError(
            f"source must hold sub-*/**/*_{contrast}.nii[.gz]; got none in '{folder}'. "
            "Check the folder and the contrast."
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ProgramError(f"out must be a new or empty folder; got '{target}'. Choose another one.")
    if not target.parent.is_dir():
        raise ProgramError(f"out must lie in a folder that exists; got '{target}'. Make its parent.")
    if not 0.0 < timeout < float("inf"):
        raise ProgramError(f"timeout must be seconds above 0; got {timeout}. A day is 86400.")
    # Docker and friends do not take all characters in a path: the temporary name stays plain.
    work = target.parent / f".harmonizing-{secrets.token_hex(6)}"
    work.mkdir()
    try:
        arguments = _filled(command, {"in": str(folder), "out": str(work), "site_column": site_column})
        _run(arguments, timeout, {**os.environ, **(environment or {})})
        made = tuple(_counterpart(work, folder, image) for image in images)
        if target.is_dir():
            target.rmdir()
        work.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tuple(target / path for path in made)


def _filled(command: Sequence[str], values: Mapping[str, str]) -> list[str]:
    if isinstance(command, str) or not command or not all(isinstance(part, str) for part in command):
        raise ProgramError(
            f"command must be a list of texts; got {command!r}. Split it, e.g. with shlex.split."
        )
    found = {name for part in command for name in _PLACEHOLDER.findall(part)}
    if not {"in", "out"} <= found or not found <= set(_KNOWN):
        known = ", ".join(f"{{{name}}}" for name in _KNOWN)
        raise ProgramError(
            f"command must contain {{in}} and {{out}}, and of other placeholders only {known}; "
            f"got {sorted(found)}. Put them where the program expects its folders."
        )
    # One pass over the command: braces inside a path or label are not placeholders.
    return [_PLACEHOLDER.sub(lambda match: values[match[1]], part) for part in command]


def _run(arguments: list[str], timeout: float, environment: dict[str, str]) -> None:
    with tempfile.TemporaryFile() as log:
        try:
            # A session of its own, so that children can be ended with it.
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramError(
                f"command must name a program that can be started; got '{arguments[0]}': {error}. "
                "Install it, or give its full path."
            ) from None
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProgramError(
                f"'{arguments[0]}' must finish within timeout={timeout:g} s; got no end. Raise timeout, or "
                f"see what it waits for. {_last_words(log)}"
            ) from None
        finally:
            _end(process)
        if status != 0:
            raise ProgramError(
                f"'{arguments[0]}' must end with status 0; got {status}. Run it by hand to see more. "
                f"{_last_words(log)}"
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started, if anything of it is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - 8192))
    lines = log.read().decode(errors="replace").strip().splitlines()
    return "Its last output:\n" + "\n".join(lines[-_SHOWN_LINES:]) if lines else "It printed nothing."


def _counterpart(work: Path, folder: Path, image: Path) -> Path:
    """Return the program's file for an image, relative to its folder, once it proves readable."""
    wanted = _plain(image.name)
    beside = work / image.parent
    found = [p for p in sorted(beside.glob("*.nii*")) if _plain(p.name) == wanted] if beside.is_dir() else []
    if len(found) != 1:
        raise ProgramError(
            f"the program must write one '{image}' (a desc- entity may be added); got {len(found)}. "
            "Check its log, and where it writes relative to {out}."
        )
    _require_same_grid(found[0], folder / image)
    return found[0].relative_to(work)


def _plain(name: str) -> str:
    stem = name.removesuffix(".gz").removesuffix(".nii")
    return "_".join(part for part in stem.split("_") if not part.startswith("desc-"))


def _require_same_grid(made: Path, original: Path) -> None:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        shape = nib.load(made).shape
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise ProgramError(
            f"'{made.name}' must be a readable NIfTI image; got an error: {error}. Check the program's log."
        ) from None
    expected = nib.load(original).shape
    if shape[:3] != expected[:3]:
        raise ProgramError(
            f"'{made.name}' must keep the grid of its original, shape {expected}; got {shape}. "
            "Let the program resample back."
        )
