"""Play a table of steps with MRzeroCore: ``python play_mrzero.py job.npz signal.npz``.

Run by an interpreter that has it (AGPL with a non-commercial EULA: compared only, never used). Pulses
are instantaneous there and act in the middle of their steps; voxels are boxes of the size in the job.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import MRzeroCore as mr0  # noqa: N813 - its own abbreviation
import numpy as np
import torch

ACCURACY = 1e-3


def repetitions(table: np.ndarray) -> list[tuple[complex, np.ndarray]]:
    """Pulses as complex angles [rad], each with the steps (duration, moments, sample) up to the next."""
    b1, found, at = table[:, 1] + 1j * table[:, 2], [], 0
    while at < len(table):
        stop = at
        while stop < len(table) and b1[stop] != 0:
            stop += 1
        angle, length = 2 * np.pi * np.sum(b1[at:stop] * table[at:stop, 0]), table[at:stop, 0].sum()
        at = stop
        while stop < len(table) and b1[stop] == 0:
            stop += 1
        rest = table[at:stop]
        half = [0.5 * length, 0.0, 0.0, 0.0, 0.0]
        if found:
            found[-1][1][-1, 0] += 0.5 * length
        steps = np.column_stack([rest[:, 0], rest[:, 3:6] * rest[:, :1], rest[:, 6]])
        found.append((angle, np.vstack([half, steps])))
        at = stop
    return found


def main(job: str, result: str) -> None:
    torch.set_num_threads(1)
    given = np.load(job)
    seq = mr0.Sequence(normalized_grads=False)
    for angle, steps in repetitions(given["table"]):
        rep = seq.new_rep(len(steps))
        rep.pulse.angle = torch.tensor(abs(angle), dtype=torch.float32)
        # Its magnetization turns by exp(-2 pi i phase), so Pulseq's RF phases count backwards.
        rep.pulse.phase = torch.tensor(-np.angle(angle), dtype=torch.float32)
        rep.event_time[:] = torch.tensor(steps[:, 0])
        rep.gradm[:] = torch.tensor(steps[:, 1:4])
        rep.adc_usage[:] = torch.tensor(steps[:, 4], dtype=torch.int32)
    fields = {k: given[k].astype(np.float32) for k in ("pd", "t1", "t2", "b0")}
    data = mr0.CustomVoxelPhantom(
        pos=given["position"].astype(np.float32), PD=fields["pd"], T1=fields["t1"], T2=fields["t2"],
        T2dash=np.float32(1e9), D=np.float32(0), B0=fields["b0"], B1=np.float32(1),
        voxel_size=given["voxel"].astype(np.float32), voxel_shape="box",
    ).build()  # fmt: skip
    start = time.process_time()
    with torch.no_grad():
        graph = mr0.compute_graph(seq, data, 200, 1e-4)
        signal = mr0.execute_graph(graph, seq, data, ACCURACY, ACCURACY, print_progress=False)
    seconds = time.process_time() - start
    np.savez(result, signal=signal[:, 0].numpy())
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(float(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
    print(json.dumps({"version": version("MRzeroCore"), "cpu_s": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
