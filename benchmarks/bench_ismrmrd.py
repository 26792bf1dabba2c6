"""Writing and reading the raw data of a 2 mm scan beside the ``ismrmrd`` package and bare HDF5."""

import tempfile
from pathlib import Path

import h5py
import ismrmrd
import numpy as np

from mrsim.simulation import SimulationOptions, simulate, write_ismrmrd
from phantoms import icbm152_head
from protocols import load_protocol, load_scanner, read_seq, write_seq
from recon import read_raw

from .measure import Row, cpu_seconds


def _peer(path: Path) -> None:
    with ismrmrd.Dataset(str(path), create_if_needed=False) as dataset:
        for i in range(dataset.number_of_acquisitions()):
            dataset.read_acquisition(i)


def _bare(path: Path) -> None:
    with h5py.File(path, "r") as file:
        file["dataset/data"][()]


def run() -> list[Row]:
    card = load_protocol("onharmony-prisma-t1w-mprage").at_resolution(2e-3)
    scanner = load_scanner(card.scanner)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_seq(folder / "scan.seq", card, scanner)
        raw = simulate(
            icbm152_head(1.6e-3), read_seq(folder / "scan.seq"), scanner, card.prescription(),
            rng=np.random.default_rng(0), options=SimulationOptions(tolerance=0.05),
        )  # fmt: skip
        path = folder / "scan.h5"
        write = cpu_seconds(lambda: write_ismrmrd(path, raw))
        size = path.stat().st_size / 1e6
        read = cpu_seconds(lambda: read_raw(path))
        bare = cpu_seconds(lambda: _bare(path))
        peer = cpu_seconds(lambda: _peer(path), warm=False)
    return [
        Row(job=f"size of {len(raw.data)} readouts, {raw.channels} coils", value=size, unit="MB"),
        Row(job="write", value=write, unit="CPU-s"),
        Row(job="write, rate", value=size / write, unit="MB/CPU-s"),
        Row(job="read and sort (recon.read_raw)", value=read, unit="CPU-s"),
        Row(job="read by ismrmrd.Dataset", value=peer, unit="CPU-s", ratio=peer / read, against="ours"),
        Row(job="read by h5py, unparsed", value=bare, unit="CPU-s", ratio=read / bare,
            against="ours / h5py"),
    ]  # fmt: skip
