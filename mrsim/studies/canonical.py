"""One spelling for JSON data, so that equal data have equal hashes; and files that survive a power cut."""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def canonical_json(data: Any) -> bytes:
    """Return JSON with sorted keys, no spaces, ASCII only; NaN and infinity are refused."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def pretty_json(data: Any) -> bytes:
    """Return JSON as people read it: indented, UTF-8, in the given order."""
    return (json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def sha256_json(data: Any) -> str:
    """Return the sha256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(data)).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fsync_file(path: Path) -> None:
    """Force a file's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(path: Path) -> None:
    """Force a folder's entries to disk (a no-op where folders cannot be opened)."""
    if os.name == "nt":
        return
    fsync_file(path)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it has either its old or its new content."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
