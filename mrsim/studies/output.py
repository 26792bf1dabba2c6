"""The output folder: whose it is, who is working in it, and the dataset that people see in it.

The folder is a BIDS dataset. The ledger lives in the hidden folder ``.mrsim``; finished files that belong to
the dataset are published from there as hard links (copies where the file system has none).
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .canonical import pretty_json, write_durably
from .ledger import Ledger, Record
from .plan import Cell, Plan
from .problems import InputError

_MARKER = Path(".mrsim") / "output.json"
_PUBLISHED = Path(".mrsim") / "published.json"
_MARK = "mrsim study output"


def check_output(root: Path, study_name: str | None = None) -> bool:
    """Check, without writing, that a folder may be used for a study.

    Parameters
    ----------
    root : Path
        The output folder; may be absent.
    study_name : str, optional
        Name of the study that wants to use it; None accepts any.

    Returns
    -------
    bool
        Whether the folder already holds output.

    Raises
    ------
    InputError
        When the folder is a link, foreign, of another study, not writable, or holds links that lead out of
        it.
    """
    name = str(root)
    if root.is_symlink():
        raise InputError.single(
            file=name,
            cause="is a symbolic link; output goes to real folders",
            remedy="Give the folder it points to.",
        )
    if not root.exists():
        _check_parent(root)
        return False
    if not root.is_dir():
        raise InputError.single(file=name, cause="is a file, not a folder", remedy="Give another --out.")
    if not os.access(root, os.W_OK | os.X_OK):
        raise InputError.single(
            file=name, cause="is not writable", remedy="Change its permissions or give another --out."
        )
    entries = list(root.iterdir())
    if not entries:
        return False
    _check_marker(root, study_name)
    _check_links(root)
    return True


def _check_parent(root: Path) -> None:
    parent = root.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError.single(
            file=str(root),
            cause=f"cannot be made: {parent} is not a writable folder",
            remedy="Give another --out.",
        )


def _check_marker(root: Path, study_name: str | None) -> None:
    try:
        marker = json.loads((root / _MARKER).read_bytes())
        ours = marker["what"] == _MARK
        owner = str(marker["study"])
    except (OSError, ValueError, KeyError, TypeError):
        ours, owner = False, ""
    if not ours:
        raise InputError.single(
            file=str(root),
            cause="is not empty and was not made by mrsim; nothing was written",
            remedy="Give a new or empty folder as --out.",
        )
    if study_name is not None and owner != study_name:
        raise InputError.single(
            file=str(root),
            cause=f"holds the study {owner!r}, not {study_name!r}",
            remedy="Give another --out, or keep the name of the study.",
        )


def _check_links(root: Path) -> None:
    real = root.resolve()
    for folder, folders, files in os.walk(root):
        for entry in (Path(folder) / name for name in (*folders, *files)):
            if entry.is_symlink() and not entry.resolve().is_relative_to(real):
                raise InputError.single(
                    file=str(entry),
                    cause="is a symbolic link that leads out of the output folder",
                    remedy="Remove it.",
                )


def create_output(root: Path, study_name: str) -> None:
    """Make the folder and its marker."""
    try:
        Ledger(root).create()
        write_durably(root / _MARKER, pretty_json({"what": _MARK, "format": 1, "study": study_name}))
    except OSError as error:
        raise InputError.single(file=str(root), cause=f"cannot be written: {error.strerror}") from None


@contextmanager
def locked(root: Path, name: str = "lock") -> Iterator[None]:
    """Hold the folder for one run.

    A lock of a process that is gone (same host) is taken over.

    Raises
    ------
    InputError
        Naming host and process of the run that is at work.
    """
    path = root / ".mrsim" / name
    guard = root / ".mrsim" / "lock.guard"
    with guard.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _refuse_others(root, path)
        write_durably(path, pretty_json(_me()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _refuse_others(root: Path, path: Path) -> None:
    """Refuse rivals: a whole run excludes everybody, shards exclude whole runs and the same shard."""
    folder = root / ".mrsim"
    rivals = [path, folder / "lock"] if path.name != "lock" else [path, *sorted(folder.glob("lock-*"))]
    for rival in rivals:
        holder = lock_holder(rival)
        if holder is not None:
            raise InputError.single(
                file=str(root),
                cause=f"another run is at work here: host {holder['host']}, process {holder['pid']}",
                remedy=f"Wait for it; if that host is gone, delete {rival}.",
            )


def lock_holder(path: Path) -> dict[str, Any] | None:
    """Return host and pid of the live holder of a lock; None when free or left by a dead process."""
    try:
        holder = json.loads(path.read_bytes())
        host, pid, born = str(holder["host"]), int(holder["pid"]), str(holder["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host == socket.gethostname() and _born(pid) != born:
        return None
    return {"host": host, "pid": pid}


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}


def _born(pid: int) -> str:
    """Return the start time of a process (a recycled pid is not the holder); "" when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return "" if error.errno == errno.ESRCH else "alive"
    return "alive"


class Dataset:
    """The published view of the ledger.

    Parameters
    ----------
    root : Path
        The output folder.
    ledger : Ledger
        Where the files are.
    """

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self._root = root
        self._ledger = ledger

    def prepare(self, plan: Plan) -> None:
        """Withdraw what an earlier plan published and this one does not; note what this one may publish."""
        paths = {path for cell in plan for path in cell.publish.values()}
        for path in paths:
            _check_path(path)
        manifest = self._root / _PUBLISHED
        try:
            earlier = set(json.loads(manifest.read_bytes()))
        except (OSError, ValueError):
            earlier = set()
        for path in sorted(earlier - paths):
            self._remove(path)
        write_durably(manifest, pretty_json(sorted(paths)))

    def publish(self, cell: Cell, record: Record) -> None:
        """Put the files of a finished cell into the dataset; files already there are left alone."""
        for name, path in cell.publish.items():
            source = self._ledger.folder(cell) / name
            if name not in record.files:
                raise FileNotFoundError(
                    f"stage {cell.stage!r} must leave {name!r} to be published as {path!r}"
                )
            _place_file(source, self._root / path)

    def withdraw(self, cell: Cell) -> None:
        """Take the files of a failed cell out of the dataset."""
        for path in cell.publish.values():
            self._remove(path)

    def _remove(self, path: str) -> None:
        target = self._root / path
        target.unlink(missing_ok=True)
        for folder in target.parents:
            if folder == self._root:
                break
            with suppress(OSError):
                folder.rmdir()


def _check_path(path: str) -> None:
    parts = Path(path).parts
    if not parts or Path(path).is_absolute() or ".." in parts or parts[0] == ".mrsim":
        raise ValueError(f"a published path must stay inside the dataset; got {path!r}")


def _place_file(source: Path, target: Path) -> None:
    status = source.stat()
    if target.is_file() and not target.is_symlink():
        there = target.stat()
        same_file = (there.st_ino, there.st_dev) == (status.st_ino, status.st_dev)
        if same_file or (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copy2(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
