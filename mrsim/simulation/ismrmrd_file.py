"""Raw data to an ISMRMRD HDF5 file, labelled as a scanner's converter would label it.

Written in bulk as one compound dataset (appending readouts one by one is two orders of magnitude slower).
World RAS [m] becomes the format's patient LPS [mm] here and nowhere else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .encoding_space import Encoding
from .ismrmrd_header import RAS_TO_LPS, header
from .rawdata import RawData

# Bits as of the ISMRMRD constants, flag n is bit n - 1.
_FLAGS = {
    "NOISE": 18,
    "REF_ONLY": 19,
    "REF_AND_IMAGE": 20,
    "LAST_IN_MEASUREMENT": 24,
    "REVERSE": 21,
    "PHASE_CORRECTION": 23,
}


def _flags(raw: RawData) -> np.ndarray:
    sequence = raw.sequence
    flags = np.zeros(sequence.adc_blocks.size, np.uint64)
    reference = sequence.label("REF") > 0
    imaging = sequence.label("IMA") > 0
    noise = sequence.label("NOISE") > 0
    flags |= np.where(noise, np.uint64(1 << _FLAGS["NOISE"]), np.uint64(0))
    flags |= np.where(reference & ~imaging & ~noise, np.uint64(1 << _FLAGS["REF_ONLY"]), np.uint64(0))
    flags |= np.where(reference & imaging & ~noise, np.uint64(1 << _FLAGS["REF_AND_IMAGE"]), np.uint64(0))
    # Pulseq's navigators are the unencoded lines of an echo train that align its odd and even lines.
    correct = sequence.label("NAV") > 0
    flags |= np.where(correct, np.uint64(1 << _FLAGS["PHASE_CORRECTION"]), np.uint64(0))
    flags |= np.where(sequence.label("REV") > 0, np.uint64(1 << _FLAGS["REVERSE"]), np.uint64(0))
    flags[-1] |= np.uint64(1 << _FLAGS["LAST_IN_MEASUREMENT"])
    return flags


def _heads(raw: RawData, encoding: Encoding, dtype: np.dtype[Any]) -> np.ndarray:
    sequence = raw.sequence
    count = sequence.adc_blocks.size
    heads = np.zeros(count, dtype)
    events = [sequence.adc_events[int(i) - 1] for i in sequence.adc[sequence.adc_blocks]]
    heads["version"] = 1
    heads["flags"] = _flags(raw)
    heads["scan_counter"] = np.arange(count)
    start = sequence.start[sequence.adc_blocks] + np.array([e.delay for e in events])
    heads["acquisition_time_stamp"] = np.rint(start * 1e3)
    heads["number_of_samples"] = [e.num for e in events]
    heads["available_channels"] = heads["active_channels"] = raw.channels
    heads["sample_time_us"] = [e.dwell * 1e6 for e in events]
    for c in range(raw.channels):
        heads["channel_mask"][:, c // 64] |= np.uint64(1 << (c % 64))
    heads["center_sample"][raw.readouts.adc] = _center_samples(raw)
    p = raw.prescription
    axes = np.stack([p.read_dir, p.phase_dir, p.slice_dir])
    heads["position"] = (np.asarray(p.center) + encoding.slice_shift @ axes) * RAS_TO_LPS * 1e3
    for name in ("read_dir", "phase_dir", "slice_dir"):
        heads[name] = np.asarray(getattr(p, name)) * RAS_TO_LPS
    idx = heads["idx"]
    idx["kspace_encode_step_1"], idx["kspace_encode_step_2"] = encoding.lines, encoding.partitions
    idx["slice"], idx["repetition"] = encoding.slices, encoding.repetitions
    names = {"average": "AVG", "contrast": "ECO", "phase": "PHS", "set": "SET", "segment": "SEG"}
    for field, label in names.items():
        idx[field] = sequence.label(label)
    return heads


def _center_samples(raw: RawData) -> np.ndarray:
    """Sample of each readout nearest the centre of k-space along it; of two equally near ones the later."""
    r = raw.readouts
    # Few readouts differ in where they lie along the readout axis.
    kinds, which = np.unique(
        np.stack([r.pattern, np.round(r.base[:, 0], 6)], axis=1), axis=0, return_inverse=True
    )
    found = np.zeros(len(kinds), np.int64)
    for n, (pattern, base) in enumerate(kinds):
        k = np.abs(base + r.offsets[int(pattern)][:, 0])
        found[n] = np.flatnonzero(k <= k.min() + 1e-3 * max(float(k.max()), 1e-9) / k.size)[-1]
    return np.asarray(found[which.reshape(-1)])


def write_ismrmrd(path: str | Path, raw: RawData) -> None:
    """Write raw data to ``path`` (group ``dataset``), under a temporary name that is renamed at the end.

    Parameters
    ----------
    path : path
        HDF5 file to create or replace.
    raw : RawData

    Raises
    ------
    OSError
        If the folder cannot be written; nothing is left behind.
    """
    import h5py
    from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoding = Encoding(raw)
    heads = _heads(raw, encoding, acquisition_header_dtype)
    trajectories = encoding.trajectories(raw)
    heads["trajectory_dimensions"][list(trajectories)] = 3
    try:
        with h5py.File(temporary, "w", libver="latest") as file:
            group = file.create_group("dataset")
            xml = group.create_dataset("xml", shape=(1,), dtype=h5py.string_dtype())
            xml[0] = header(raw)
            table = group.create_dataset(
                "data", shape=(len(heads),), dtype=acquisition_dtype, maxshape=(None,),
                chunks=(max(1, min(len(heads), 256)),),
            )  # fmt: skip
            empty = np.empty(0, np.float32)
            for first in range(0, len(heads), 2048):
                stop = min(first + 2048, len(heads))
                block = np.empty(stop - first, acquisition_dtype)
                for i in range(first, stop):
                    block["traj"][i - first] = trajectories.get(i, empty)
                    block["data"][i - first] = np.ascontiguousarray(raw.data[i]).view(np.float32).reshape(-1)
                block["head"] = heads[first:stop]
                table[first:stop] = block
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
