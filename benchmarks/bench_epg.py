"""Phase graphs of all pulses of a 2 mm MPRAGE, for every tissue at nine transmit fields."""

import tempfile
from pathlib import Path

import numpy as np

from mrsim.simulation import Session, SimulationOptions
from mrsim.simulation.magnetization import b1_nodes, magnetization_histories, object_bins
from mrsim.simulation.scanned import scan_object
from mrsim.simulation.kspace.train import timeline
from phantoms import icbm152_head
from protocols import load_protocol, load_scanner, read_seq, write_seq

from .measure import Row, cpu_seconds

CARDS = ("onharmony-prisma-t1w-mprage", "onharmony-prisma-flair-space", "nist-prisma-vfa15")


def run() -> list[Row]:
    rows = []
    options = SimulationOptions()
    for name in CARDS:
        card = load_protocol(name).at_resolution(2e-3)
        scanner = load_scanner(card.scanner)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan.seq"
            write_seq(path, card, scanner)
            sequence = read_seq(path)
        obj = scan_object(icbm152_head(4e-3), card.prescription(), scanner, Session(), options)
        line = timeline(sequence, f0=scanner.f0)
        bins = object_bins(obj, b1_nodes(obj, options.b1_nodes), scanner.f0)
        seconds = cpu_seconds(lambda line=line, bins=bins: magnetization_histories(line, bins))
        pulses = int(np.asarray(line.train.phase).size)
        rows += [
            Row(job=f"{card.sequence}: {pulses} pulses x {bins.size} histories", value=seconds, unit="CPU-s"),
            Row(
                job=f"{card.sequence}: per pulse and history",
                value=1e9 * seconds / pulses / bins.size,
                unit="ns",
            ),
        ]
    return rows
