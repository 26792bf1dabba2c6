"""Phase graphs of all pulses of a 2 mm MPRAGE, for every tissue at nine transmit fields."""

import tempfile
from pathlib import Path

import numpy as np

from mrsim.simulation import Session, SimulationOptions
from mrsim.simulation.kspace.histories import Played, chebyshev_nodes
from mrsim.simulation.kspace.pulses import Bins
from mrsim.simulation.kspace.train import timeline
from mrsim.simulation.scanned import scan_object
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
        b1 = obj.b1[obj.occupied]
        nodes = chebyshev_nodes(float(b1.min()), float(b1.max()), options.b1_nodes)
        tissues = obj.tissues
        values = {n: np.repeat([getattr(t, n) for t in tissues], nodes.size) for n in ("t1", "t2", "adc")}
        shift = np.repeat([t.shift_ppm * 1e-6 * scanner.f0 for t in tissues], nodes.size)
        bins = Bins(**values, b1=np.tile(nodes, len(tissues)), shift=shift)
        played = Played(
            train=line.train, shapes=line.shapes, direction=np.zeros(3), max_states=256, threads=1
        )
        after = np.unique(line.readouts.pulse)
        seconds = cpu_seconds(lambda p=played, b=bins, a=after: p.signals(b, a))
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
