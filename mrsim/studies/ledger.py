"""The ledger is the file system: a cell is done when its record and its data agree.

Layout under the output folder::

    .mrsim/cells/<stage>/<id>/       files of a cell, moved there whole
    .mrsim/cells/<stage>/<id>.json   its record, written after the data
    .mrsim/failed/<id>.json          last error of a cell
    .mrsim/tmp/                      unfinished work, swept when a run starts

Data are forced to disk before the folder is renamed, the rename before the record is written, so a record
never speaks of data that are not there. No locks are needed for this to hold; a late writer writes the same
bytes.
"""

import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .canonical import fsync_file, fsync_folder, pretty_json, sha256_file, sha256_json, write_durably
from .plan import Cell

Verify = Literal["quick", "full"]
_ID_LENGTH = 20
_FORMAT = 1


class LedgerError(ValueError):
    """An output that the ledger cannot keep."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the ledger knows of a finished cell.

    Parameters
    ----------
    id : str
        Full id of the cell.
    digest : str
        Sha256 over names and checksums of the files.
    inputs : mapping
        Input cell id -> digest of that input when this cell was computed (or the mark of its failure).
    files : mapping
        Relative path -> size [bytes], sha256, mtime_ns.
    pruned : bool
        Whether the data were deleted because nobody needs them any more.
    usage : mapping
        Measured wall_seconds, cpu_seconds, peak_memory.
    """

    id: str
    digest: str
    inputs: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    pruned: bool
    usage: Mapping[str, float]


class Ledger:
    """Finished and failed cells of one output folder.

    Parameters
    ----------
    root : Path
        The output folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = root / ".mrsim"

    def create(self) -> None:
        """Make the folders of the ledger."""
        for name in ("cells", "failed", "tmp"):
            (self._base / name).mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove unfinished work of runs that were killed."""
        for entry in (self._base / "tmp").iterdir():
            shutil.rmtree(entry, ignore_errors=True)

    def folder(self, cell: Cell) -> Path:
        """Return where the data of a cell are."""
        return self._base / "cells" / cell.stage / cell.id[:_ID_LENGTH]

    def record_path(self, cell: Cell) -> Path:
        """Return where the record of a cell is."""
        return self._base / "cells" / cell.stage / f"{cell.id[:_ID_LENGTH]}.json"

    def temporary(self, cell: Cell) -> Path:
        """Make and return an empty folder for work in progress."""
        path = self._base / "tmp" / f"{cell.id[:_ID_LENGTH]}-{secrets.token_hex(6)}"
        path.mkdir(parents=True)
        return path

    def read(self, cell: Cell) -> Record | None:
        """Return the record of a cell without looking at its data; None when absent or not readable."""
        try:
            data = json.loads(self.record_path(cell).read_bytes())
            if data["format"] != _FORMAT or data["id"] != cell.id or data["digest"] != _digest(data["files"]):
                return None
            return Record(
                id=data["id"],
                digest=data["digest"],
                inputs=data["input_digests"],
                files=data["files"],
                pruned=data["pruned"],
                usage=data["usage"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def check(self, cell: Cell, verify: Verify = "quick") -> Record | None:
        """Return the record if the data agree with it.

        Parameters
        ----------
        cell : Cell
            The cell.
        verify : {"quick", "full"}
            Quick trusts size and modification time and computes a checksum only where the time differs;
            full computes every checksum.
        """
        record = self.read(cell)
        if record is None or record.pruned:
            return record
        folder = self.folder(cell)
        try:
            present = {name: (folder / name).lstat() for name in _walk(folder)}
        except (OSError, LedgerError):
            return None
        if set(present) != set(record.files):
            return None
        agree = all(
            _agrees(folder / name, present[name], known, verify) for name, known in record.files.items()
        )
        return record if agree else None

    def commit(
        self, cell: Cell, temporary: Path, input_digests: Mapping[str, str], usage: Mapping[str, float]
    ) -> Record:
        """Move finished work into place and write its record.

        Raises
        ------
        OSError
            For instance a full disk; nothing is left under the final name then.
        LedgerError
            When the stage left links or special files.
        """
        files: dict[str, dict[str, Any]] = {}
        for name in sorted(_walk(temporary)):
            path = temporary / name
            fsync_file(path)
            status = path.lstat()
            files[name] = {
                "size": status.st_size,
                "sha256": sha256_file(path),
                "mtime_ns": status.st_mtime_ns,
            }
        for folder, _, _ in os.walk(temporary):
            fsync_folder(Path(folder))
        final = self.folder(cell)
        final.parent.mkdir(parents=True, exist_ok=True)
        self.record_path(cell).unlink(missing_ok=True)
        self._discard(final)
        temporary.rename(final)
        fsync_folder(final.parent)
        record = Record(
            id=cell.id,
            digest=_digest(files),
            inputs=dict(input_digests),
            files=files,
            pruned=False,
            usage=dict(usage),
        )
        self._write_record(cell, record)
        self._failure_path(cell).unlink(missing_ok=True)
        return record

    def prune(self, cell: Cell, record: Record) -> None:
        """Delete the data of a transient cell; its record stays."""
        pruned = Record(
            id=record.id,
            digest=record.digest,
            inputs=record.inputs,
            files=record.files,
            pruned=True,
            usage=record.usage,
        )
        self._write_record(cell, pruned)
        self._discard(self.folder(cell))

    def fail(self, cell: Cell, error: str, traceback: str) -> None:
        """Record the error of a cell; a disk too full even for that is not an error of its own."""
        content = {
            "id": cell.id,
            "stage": cell.stage,
            "key": dict(cell.key),
            "error": error,
            "traceback": traceback,
        }
        try:
            write_durably(self._failure_path(cell), pretty_json(content))
        except OSError:
            return

    def failure(self, cell: Cell) -> dict[str, Any] | None:
        """Return the last recorded error of a cell."""
        try:
            data = json.loads(self._failure_path(cell).read_bytes())
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def _failure_path(self, cell: Cell) -> Path:
        return self._base / "failed" / f"{cell.id[:_ID_LENGTH]}.json"

    def _write_record(self, cell: Cell, record: Record) -> None:
        content = {
            "format": _FORMAT,
            **cell.record(),
            "digest": record.digest,
            "input_digests": dict(record.inputs),
            "files": record.files,
            "external": cell.record()["files"],
            "pruned": record.pruned,
            "usage": dict(record.usage),
        }
        write_durably(self.record_path(cell), pretty_json(content))

    def _discard(self, folder: Path) -> None:
        """Take a folder out of its final name in one step, then delete it."""
        if not folder.exists():
            return
        trash = self._base / "tmp" / f"trash-{secrets.token_hex(6)}"
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def _walk(folder: Path) -> list[str]:
    """Return the relative paths of all files; links and special files are refused."""
    names: list[str] = []
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            names.append(path.relative_to(folder).as_posix())
        elif not stat.S_ISDIR(mode):
            raise LedgerError(f"a stage must leave plain files and folders; got {path.name!r}")
    return names


def _agrees(path: Path, status: os.stat_result, known: Mapping[str, Any], verify: Verify) -> bool:
    if status.st_size != known["size"]:
        return False
    if verify == "quick" and status.st_mtime_ns == known["mtime_ns"]:
        return True
    return bool(sha256_file(path) == known["sha256"])


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    return sha256_json({name: entry["sha256"] for name, entry in files.items()})
