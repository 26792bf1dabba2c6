"""Our reader against the sequence diagrams that JEMRIS 2.9.2 wrote beside its Pulseq files."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from protocols import read_seq, rf_steps

JEMRIS = Path(__file__).parents[2].parent / "shared" / "refdata" / "jemris"
FILES = sorted(JEMRIS.glob("*/sequence*.seq"))
EDGE = 1e-8  # s; JEMRIS writes edges 2.5 ns inside an event
pytestmark = pytest.mark.skipif(not FILES, reason="reference files ../shared/refdata/jemris are not here")


def diagram(path):
    with h5py.File(path.with_name("seqdiag.h5")) as file:
        parts = {name: np.asarray(file["seqdiag"][name], dtype=float) for name in file["seqdiag"]}
    parts["T"] = parts["T"] * 1e-3  # ms
    return parts


def block_at(sequence, times):
    return np.clip(np.searchsorted(sequence.start, times, side="right") - 1, 0, sequence.n_blocks - 1)


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_gradients_and_readouts_equal_the_diagram(path):
    sequence, wanted = read_seq(path), diagram(path)
    assert sequence.signature.verified
    times = wanted["T"]
    assert sequence.total_duration == pytest.approx(times[-1], abs=EDGE)
    clear = np.flatnonzero(
        (np.diff(times, prepend=-1) > EDGE) & (np.diff(times, append=times[-1] + 1) > EDGE)
    )
    blocks = block_at(sequence, times)
    for axis, ids in zip("XYZ", (sequence.gx, sequence.gy, sequence.gz), strict=True):
        theirs = wanted["G" + axis] / (2e-6 * np.pi)  # rad/(ms mm) -> Hz/m
        ours = np.zeros(times.size)
        for index in clear.tolist():
            number = int(ids[blocks[index]])
            if number:
                event = sequence.grad_events[number - 1]
                at = times[index] - sequence.start[blocks[index]]
                ours[index] = np.interp(at, event.times, event.values, left=0, right=0)
        # six digits of the amplitude in the file; 10 ns on the steepest ramp of these files
        limit = 2e-6 * np.abs(theirs).max() + EDGE * 1e10
        np.testing.assert_allclose(ours[clear], theirs[clear], atol=limit)
    samples = [sequence.start[b] + sequence.adc_event(b).sample_times for b in sequence.adc_blocks]
    np.testing.assert_allclose(
        np.concatenate([*samples, []]), times[wanted["RXP"] >= 0] if samples else [], atol=EDGE
    )


HARD = [path for path in FILES if not path.parent.name.startswith(("slicesel", "sech"))]


@pytest.mark.parametrize("path", HARD, ids=lambda path: path.parent.name)
def test_hard_pulses_equal_the_diagram(path):
    """The diagram only samples shaped pulses, so that they do not compare."""
    sequence, wanted = read_seq(path), diagram(path)
    for block in sequence.rf_blocks.tolist():
        event = sequence.rf_event(block)
        durations, b1 = rf_steps(event, sequence.rasters["rf"])
        centres = sequence.start[block] + event.delay + np.cumsum(durations) - 0.5 * durations
        theirs = np.interp(centres, wanted["T"], wanted["TXM"]) / (2e-3 * np.pi)  # rad/ms -> Hz
        np.testing.assert_allclose(np.abs(b1), theirs, rtol=1e-5)  # six digits of the amplitude
