"""Reader of ISMRMRD raw data files: bulk, strict, and safe against hostile files.

What Python can check is checked here before anything large is allocated.  The HDF5 library itself may hang
or crash on a file made for that; read files of unknown origin in a child process with limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RawDataError
from .header import MAX_XML_BYTES, Header, parse_header

__all__ = ["AcquisitionFlag", "RawData", "RawDataError", "ReadoutGroup", "read_raw"]

MAX_BYTES = 64 * 2**30
MAX_READOUTS = 50_000_000
MAX_SAMPLE = 1e15  # powers of larger single-precision samples overflow when they are summed
_BATCH = 4096

# What h5py raises for damaged files, by the layer that stumbles.
_HDF5_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError)

Complex = NDArray[np.complex64]


class AcquisitionFlag(IntFlag):
    """Bits of an acquisition's `flags` that the reconstruction acts on (ISMRMRD: bit n - 1 for flag n)."""

    NOISE = 1 << 18
    CALIBRATION = 1 << 19
    CALIBRATION_AND_IMAGING = 1 << 20
    REVERSE = 1 << 21
    NAVIGATION = 1 << 22
    PHASE_CORRECTION = 1 << 23
    HP_FEEDBACK = 1 << 25
    DUMMY = 1 << 26
    RT_FEEDBACK = 1 << 27
    SURFACE_COIL_CORRECTION = 1 << 28
    PHASE_STABILIZATION_REFERENCE = 1 << 29
    PHASE_STABILIZATION = 1 << 30
    COMPRESSED = 0b1111 << 52


_COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)
HEAD_DTYPE = np.dtype(
    [
        ("flags", "u8"),
        ("number_of_samples", "i4"),
        ("active_channels", "i4"),
        ("discard_pre", "i4"),
        ("discard_post", "i4"),
        ("center_sample", "i4"),
        ("encoding_space_ref", "i4"),
        ("trajectory_dimensions", "i4"),
        ("sample_time_us", "f8"),
        ("position", "f8", (3,)),
        ("read_dir", "f8", (3,)),
        ("phase_dir", "f8", (3,)),
        ("slice_dir", "f8", (3,)),
        *[(name, "i4") for name in _COUNTERS],
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadoutGroup:
    """Readouts of equal shape, in file order.

    index : positions in the file's list of acquisitions, shape (n,)
    data : complex64 samples, shape (n, coil, sample)
    trajectory : k-space positions as stored, float32 (n, sample, dimension), or None
    """

    index: NDArray[np.intp]
    data: Complex
    trajectory: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RawData:
    """A measurement as stored: header, acquisition headers (struct of arrays) and grouped samples.

    `heads` has the fields of an ISMRMRD acquisition header that a reconstruction needs, the counters of
    `idx` flattened into it; positions in millimetres and directions in LPS as in the file.
    """

    source: str
    header: Header
    heads: NDArray[Any]
    groups: tuple[ReadoutGroup, ...]
    notes: tuple[str, ...] = ()

    def flagged(self, flag: int) -> NDArray[np.bool_]:
        """Mask (n,) of acquisitions with any bit of `flag` set."""
        return np.asarray((self.heads["flags"] & np.uint64(flag)) != 0)


def read_raw(path: str | Path, *, group: str | None = None, max_bytes: int = MAX_BYTES) -> RawData:
    """Read an ISMRMRD file in bulk.

    Parameters
    ----------
    path
        HDF5 file in ISMRMRD layout (``<group>/xml`` and ``<group>/data``).
    group
        Name of the measurement; by default ``dataset``, or the only measurement in the file.
    max_bytes
        Refuse measurements whose samples would exceed this many bytes.

    Raises
    ------
    RawDataError
        With one line that names file, field and remedy: not HDF5 or truncated, links or external or virtual
        storage, a document type in the header, missing or invalid header fields, sizes above the budget or
        that disagree with the acquisition headers, non-finite samples.
    FileNotFoundError
        There is no such file.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such raw data file")
    try:
        with h5py.File(path, "r") as file:
            node = _measurement(file, group, str(path))
            header = parse_header(_xml(node, str(path)), str(path))
            return _read(node, header, path, max_bytes)
    except RawDataError:
        raise
    except _HDF5_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RawDataError(f"{path}: not a readable HDF5 file ({reason}). Copy or write it again.") from None


def _measurement(file: Any, group: str | None, source: str) -> Any:
    names = list(file)[:10_000]
    found = [n for n in names if _is_measurement(file, n)]
    wanted = group or ("dataset" if "dataset" in names else found[0] if len(found) == 1 else None)
    if wanted is None:
        raise RawDataError(
            f"{source}: expected one group with 'xml' and 'data'; found {found[:8]}. Name the group."
        )
    node = _child(file, wanted, source)
    if not _is_measurement(file, wanted):
        raise RawDataError(
            f"{source}: group '{wanted}' must hold 'xml' and 'data'; file has {names[:8]}. Name the group."
        )
    return node


def _is_measurement(file: Any, name: str) -> bool:
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return False
    node = file[name]
    return isinstance(node, h5py.Group) and "xml" in node and "data" in node


def _child(node: Any, name: str, source: str) -> Any:
    """Child of a group, reached only through a hard link and stored only in this file."""
    import h5py

    link = node.get(name, getlink=True) if name in node or node.get(name, getlink=True) is not None else None
    if link is None:
        raise RawDataError(f"{source}: '{name}' is missing. Name the right group or write the file again.")
    if not isinstance(link, h5py.HardLink):
        raise RawDataError(
            f"{source}: '{name}' is a {type(link).__name__}; links are refused. Copy the data in."
        )
    child = node[name]
    if isinstance(child, h5py.Dataset) and (child.is_virtual or child.external):
        raise RawDataError(f"{source}: '{name}' uses external or virtual storage, refused. Copy the data in.")
    return child


def _xml(node: Any, source: str) -> bytes:
    import h5py

    ds = _child(node, "xml", source)
    if not isinstance(ds, h5py.Dataset) or ds.size != 1 or ds.nbytes > MAX_XML_BYTES:
        raise RawDataError(f"{source}: 'xml' must be one string. Write the file again.")
    value = np.asarray(ds[()]).reshape(-1)[0]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise RawDataError(
        f"{source}: 'xml' must be one string; got {type(value).__name__}. Write the file again."
    )


def _read(node: Any, header: Header, path: Path, max_bytes: int) -> RawData:
    source = str(path)
    ds = _child(node, "data", source)
    names = getattr(getattr(ds, "dtype", None), "names", None) or ()
    if not {"head", "data", "traj"} <= set(names) or "flags" not in (ds.dtype["head"].names or ()):
        raise RawDataError(
            f"{source}: 'data' must be an array of acquisitions (head, traj, data). Not ISMRMRD."
        )
    count = int(ds.size)
    if not 0 < count <= MAX_READOUTS or ds.ndim > 2 or (ds.ndim == 2 and 1 not in ds.shape):
        raise RawDataError(f"{source}: 'data' must hold 1 to {MAX_READOUTS} acquisitions; got {ds.shape}.")
    if ds.nbytes > max_bytes or ds.nbytes > 2000 * (path.stat().st_size + 4096):
        raise RawDataError(
            f"{source}: 'data' claims {ds.nbytes} bytes in a small file. Refused as not plausible."
        )
    heads = _heads(ds, source)
    _check_heads(heads, header, path, max_bytes)
    groups = _groups(ds, heads, source)
    return RawData(source=source, header=header, heads=heads, groups=groups, notes=header.notes)


def _heads(ds: Any, source: str) -> NDArray[Any]:
    stored = ds.fields("head")[...].reshape(-1)
    idx = stored["idx"] if "idx" in (stored.dtype.names or ()) else stored
    heads = np.zeros(stored.size, HEAD_DTYPE)
    for name in HEAD_DTYPE.names or ():
        part = idx if name in _COUNTERS else stored
        if name not in (part.dtype.names or ()):
            raise RawDataError(f"{source}: acquisition headers lack '{name}'. Not an ISMRMRD 1.x file.")
        heads[name] = part[name]
    return heads


def _check_heads(heads: NDArray[Any], header: Header, path: Path, max_bytes: int) -> None:
    kept = heads["number_of_samples"] - heads["discard_pre"] - heads["discard_post"]
    checks = (
        (heads["number_of_samples"] < 1, "number_of_samples", "at least 1"),
        (kept < 1, "discard_pre + discard_post", "smaller than number_of_samples"),
        (heads["active_channels"] < 1, "active_channels", "at least 1"),
        (heads["trajectory_dimensions"] > 4, "trajectory_dimensions", "at most 4"),
        (heads["center_sample"] >= heads["number_of_samples"], "center_sample", "inside the readout"),
        (
            heads["encoding_space_ref"] >= len(header.encodings),
            "encoding_space_ref",
            "an encoding of the header",
        ),
        (~(heads["sample_time_us"] >= 0) | (heads["sample_time_us"] > 1e6), "sample_time_us", "0 to 1e6"),
        (~np.isfinite(heads["position"]).all(axis=1), "position", "finite"),
    )
    for bad, name, wanted in checks:
        if bad.any():
            i = int(np.argmax(bad))
            raise RawDataError(
                f"{path}: readout {i}: {name} must be {wanted}. Write the acquisition header again."
            )
    samples = heads["number_of_samples"].astype(np.int64)
    total = int((samples * (8 * heads["active_channels"] + 4 * heads["trajectory_dimensions"])).sum())
    if total > max_bytes or total > 4 * path.stat().st_size:
        raise RawDataError(
            f"{path}: acquisition headers claim {total} bytes of samples; the file has "
            f"{path.stat().st_size} and the budget is {max_bytes}. Refused; raise max_bytes if it is right."
        )


def _batches(count: int) -> Iterator[slice]:
    yield from (slice(i, min(i + _BATCH, count)) for i in range(0, count, _BATCH))


def _groups(ds: Any, heads: NDArray[Any], source: str) -> tuple[ReadoutGroup, ...]:
    """Read all samples in batches and sort them into groups of equal shape."""
    keys = np.stack(
        [heads["active_channels"], heads["number_of_samples"], heads["trajectory_dimensions"]], axis=1
    )
    shapes, member = np.unique(keys, axis=0, return_inverse=True)
    member = member.reshape(-1)
    index = [np.flatnonzero(member == g) for g in range(len(shapes))]
    data = [np.empty((len(i), c, n), np.complex64) for i, (c, n, _) in zip(index, shapes, strict=True)]
    traj = [np.empty((len(i), n, d), np.float32) for i, (_, n, d) in zip(index, shapes, strict=True)]
    filled = [0] * len(shapes)
    for part in _batches(len(heads)):
        block = ds[part] if ds.ndim == 1 else ds[part, 0] if ds.shape[1] == 1 else ds[0, part]
        samples, k = block["data"], block["traj"]
        for g in np.unique(member[part]):
            rows = np.flatnonzero(member[part] == g)
            to = slice(filled[g], filled[g] + len(rows))
            where = index[g][to]
            data[g][to] = (
                _stack(samples[rows], 2 * int(np.prod(shapes[g][:2])), where, "data", source)
                .view(np.complex64)
                .reshape(len(rows), shapes[g][0], shapes[g][1])
            )
            traj[g][to] = _stack(k[rows], int(shapes[g][1] * shapes[g][2]), where, "traj", source).reshape(
                len(rows), shapes[g][1], shapes[g][2]
            )
            filled[g] += len(rows)
    return tuple(
        ReadoutGroup(index=i, data=d, trajectory=t if t.shape[2] else None)
        for i, d, t in zip(index, data, traj, strict=True)
    )


def _stack(
    rows: NDArray[Any], length: int, where: NDArray[np.intp], field: str, source: str
) -> NDArray[np.float32]:
    """Join variable-length rows into (n, length); the length is what the headers promise."""
    sizes = np.fromiter((r.size for r in rows), np.int64, len(rows))
    if (sizes != length).any():
        i = int(np.argmax(sizes != length))
        raise RawDataError(
            f"{source}: readout {where[i]}: header promises {length} numbers in '{field}', "
            f"the array has {sizes[i]}. Write the file again."
        )
    if length == 0:
        return np.empty((len(rows), 0), np.float32)
    flat = np.concatenate(rows).astype(np.float32, copy=False).reshape(len(rows), length)
    usable = np.abs(flat) < MAX_SAMPLE  # false for NaN, too
    if not usable.all():
        i = int(np.argmin(usable.all(axis=1)))
        raise RawDataError(
            f"{source}: readout {where[i]}: '{field}' has non-finite samples or some above {MAX_SAMPLE:g}. "
            "Drop or repair the readout."
        )
    return np.asarray(flat)
