"""Play a table of steps with cmrsim's general Bloch operator: ``python play_cmrsim.py job.npz signal.npz``.

Run by an interpreter that has cmrsim (TensorFlow). Off-resonance is left out: give it a job without.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")

import numpy as np
import tensorflow as tf
from cmrsim.bloch import GeneralBlochOperator
from cmrsim.trajectory import StaticParticlesTrajectory


def nodes(table: np.ndarray) -> tuple[np.ndarray, ...]:
    """Time [ms], B1 [kHz], gradient [kHz/m] and sample flags at nodes whose means are the steps' values.

    A step of no length joins runs of different gradients; inside a pulse each node value is what makes the
    mean with the one before right.
    """
    time_ms, b1, grad, adc = [0.0], [0j], [np.zeros(3)], [0.0]
    before = None
    for row in table:
        step, field = 1e-3 * complex(row[1], row[2]), 1e-3 * row[3:6]
        kind = (step != 0, *field)
        if before is not None and kind != before:
            time_ms.append(time_ms[-1])
            b1.append(0j)
            grad.append(field)
            adc.append(0.0)
        elif before is None:
            grad[0] = field
        before = kind
        time_ms.append(time_ms[-1] + 1e3 * row[0])
        b1.append(2 * step - b1[-1] if step else 0j)
        grad.append(field)
        adc.append(row[6])
    # The last interval must not be sampled.
    tail = (time_ms[-1] + 1e-3, 0j, np.zeros(3), 0.0)
    for values, last in zip((time_ms, b1, grad, adc), tail, strict=True):
        values.append(last)
    return tuple(np.array(values) for values in (time_ms, b1, grad, adc))


def main(job: str, result: str) -> None:
    given = np.load(job)
    time_ms, b1, grad, adc = nodes(given["table"])
    operator = GeneralBlochOperator(
        name="job", gamma=2 * np.pi, time_grid=time_ms,
        gradient_waveforms=grad[None].astype(np.float32), rf_waveforms=b1[None].astype(np.complex64),
        adc_events=np.stack([adc, 0 * adc], axis=-1)[None].astype(np.float32), device="CPU:0",
    )  # fmt: skip
    n = len(given["pd"])
    spins = {
        "initial_position": given["position"], "magnetization": np.tile([0, 0, 1], (n, 1)),
        "T1": 1e3 * given["t1"], "T2": 1e3 * given["t2"], "M0": given["pd"],
    }  # fmt: skip
    kinds = {"magnetization": tf.complex64}
    spins = {k: tf.constant(v, dtype=kinds.get(k, tf.float32)) for k, v in spins.items()}
    seconds = 0.0
    for _ in range(2):  # the first one compiles
        operator.reset()
        start = time.process_time()
        operator(
            trajectory_module=StaticParticlesTrajectory(), repetition_index=0, run_parallel=False, **spins
        )
        signal = operator.time_signal_acc[0].numpy()
        seconds = time.process_time() - start
    # Its magnetization turns by exp(+i phase).
    np.savez(result, signal=signal.conj())
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(float(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
    print(json.dumps({"version": version("cmrsim"), "cpu_s": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
