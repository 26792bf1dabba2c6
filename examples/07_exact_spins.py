"""Any Pulseq sequence on any spins, by exact integration: a balanced one, which the k-space engine refuses.

Plays a train of pulses built with pypulseq on spins with different off-resonance, and prints the steady state
beside the textbook formula (Freeman and Hill).
"""

import tempfile
from pathlib import Path

import numpy as np
import pypulseq as pp

from mrsim.simulation.bloch import BlochOptions, simulate_cloud
from phantoms import PointCloud
from protocols import read_seq

FLIP, TR, T1, T2 = np.deg2rad(45), 5e-3, 1.0, 0.1


def balanced_train(path, pulses=2000):
    """Write hard pulses of alternating phase, a sample in the middle after each."""
    system = pp.Opts(rf_dead_time=0, rf_ringdown_time=0, adc_dead_time=0)
    sequence = pp.Sequence(system)
    for n in range(pulses):
        phase = np.pi * (n % 2)
        # Short pulses: the formula knows no others.
        rf = pp.make_block_pulse(FLIP, duration=2e-6, phase_offset=phase, system=system, use="excitation")
        adc = pp.make_adc(1, dwell=1e-5, delay=TR / 2 - 1.4e-5, phase_offset=phase, system=system)
        sequence.add_block(rf, pp.make_delay(1e-5))
        sequence.add_block(adc, pp.make_delay(TR - 1e-5))
    sequence.write(str(path))


def freeman_hill(df):
    """Steady-state signal at TE = TR/2."""
    theta = 2 * np.pi * df * TR + np.pi
    e1, e2 = np.exp(-TR / T1), np.exp(-TR / T2)
    c, s = np.cos(FLIP), np.sin(FLIP)
    top = (1 - e1) * s * np.sqrt(1 - 2 * e2 * np.cos(theta) + e2**2)
    bottom = (1 - e1 * c) * (1 - e2 * np.cos(theta)) - e2 * (e1 - c) * (e2 - np.cos(theta))
    return top / bottom * np.exp(-TR / 2 / T2)


def main():
    df = np.array([0.0, 25.0, 50.0, 75.0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "balanced.seq"
        balanced_train(path)
        sequence = read_seq(path)
    for f in df:
        spin = PointCloud(
            name="spin",
            position=np.zeros((1, 3)),
            m0=np.ones(1),
            t1=np.array([T1]),
            t2=np.array([T2]),
            df=np.array([f]),
        )
        signal = simulate_cloud(spin, sequence, options=BlochOptions(precision="double"))
        print(f"{f:5.0f} Hz: {abs(signal.samples[0, -1]):.6f}, textbook {freeman_hill(f):.6f}")


if __name__ == "__main__":
    main()
