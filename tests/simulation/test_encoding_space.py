"""Encoding of sequences that carry no labels, against what their authors wrote them for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrsim.simulation.encoding_space import Encoding
from mrsim.simulation.kspace.path import kspace_readouts
from mrsim.simulation.rawdata import RawData
from protocols import Prescription, read_seq

from .conftest import scanner
from .tiny import spoiled_gre

KOMA = Path(__file__).parents[2].parent / "shared" / "refdata" / "koma"
foreign = pytest.mark.skipif(not KOMA.is_dir(), reason="sequences are not at ../shared/refdata/koma")


def encoding(sequence):
    """Encoding of raw data of zeros, axes upright."""
    machine, axes = scanner(), np.eye(3)
    counts = [sequence.adc_events[int(sequence.adc[b]) - 1].num for b in sequence.adc_blocks]
    raw = RawData(
        data=tuple(np.zeros((1, n), np.complex64) for n in counts), sequence=sequence, scanner=machine,
        prescription=Prescription(
            read_dir=axes[0], phase_dir=axes[1], slice_dir=axes[2], center=np.zeros(3)
        ),
        readouts=kspace_readouts(sequence, f0=machine.f0),
    )  # fmt: skip
    return Encoding(raw), raw


@foreign
@pytest.mark.parametrize("path", ["seq/v1.3/epi.seq", "seq/v1.5/epi.seq"])
def test_epi_of_three_slices(path):
    """Lines run to and fro, so that every sample is stored with its k; slices 3 mm apart, interleaved or not.

    Line distances are told apart to 1e-3 1/m, 1e-4 of the field of view.
    """
    found, raw = encoding(read_seq(KOMA / path))
    assert not found.cartesian
    assert np.array_equal(np.bincount(found.slices), [64, 64, 64])
    assert not found.repetitions.any()
    assert found.matrix == (64, 64, 1)
    assert found.fov[:2] == pytest.approx((0.22, 0.22), rel=2e-4)
    shifts = np.unique(np.round(found.slice_shift, 6), axis=0)
    np.testing.assert_allclose(shifts, [[0, 0, -3e-3], [0, 0, 0], [0, 0, 3e-3]], atol=1e-6)
    k = found.trajectories(raw)
    assert len(k) == 192
    # In units of 1/FOV neighbouring samples are one apart, and so are neighbouring lines.
    lines = np.stack([v.reshape(-1, 3) for v in k.values()])
    np.testing.assert_allclose(np.ptp(lines[..., 0], axis=1), 63, atol=1e-3)
    assert np.ptp(lines[..., 1]) == pytest.approx(63, abs=0.02)


@foreign
def test_epi_of_jemris():
    found, _ = encoding(read_seq(KOMA / "jemris_upstream/epi_100x100_TE100_FOV230.seq"))
    assert found.matrix == (100, 100, 1)
    assert found.fov[:2] == pytest.approx((0.23, 0.23), rel=2e-4)
    assert not found.slices.any()
    assert not found.repetitions.any()


@foreign
@pytest.mark.parametrize(
    ("path", "lines", "labelled"),
    [("v1.3/gre.seq", 256, False), ("v1.5/gre.seq", 128, False), ("v1.3/gre_lbl.seq", 256, True)],
)
def test_gradient_echo_is_cartesian(path, lines, labelled):
    found, raw = encoding(read_seq(KOMA / "seq" / path))
    assert found.cartesian
    assert found.labelled == labelled
    assert np.array_equal(np.sort(found.lines), np.arange(lines))
    assert not found.slices.any()
    assert not found.repetitions.any()
    assert found.matrix == (lines, lines, 1)
    told = raw.sequence.definitions["FOV"]
    assert found.fov == pytest.approx(tuple(told))
    assert found.center == (lines // 2, 0)
    assert found.trajectories(raw) == {}


@foreign
@pytest.mark.parametrize(("path", "slices"), [("v1.3/spiral.seq", 1), ("v1.5/spiral.seq", 4)])
def test_spirals_store_their_trajectory(path, slices):
    found, raw = encoding(read_seq(KOMA / "seq" / path))
    assert not found.cartesian
    assert np.array_equal(np.sort(found.slices), np.arange(slices))
    assert not found.repetitions.any()
    assert found.fov == pytest.approx((0.256, 0.256, 0.003))
    largest = max(np.abs(v).max() for v in found.trajectories(raw).values())
    assert largest == pytest.approx(max(found.matrix) / 2, abs=1.0)


@foreign
@pytest.mark.parametrize(("path", "count"), [("v1.3/fid.seq", 2), ("v1.4/fid.seq", 16)])
def test_repeated_free_decays_are_repetitions(path, count):
    found, _ = encoding(read_seq(KOMA / "seq" / path))
    assert found.repetitions.tolist() == list(range(count))
    assert not found.lines.any()
    assert found.matrix[1:] == (1, 1)


def test_labels_and_k_space_tell_the_same():
    """A three-dimensional scan of ours without its labels and definitions: counters are the same."""
    labelled = spoiled_gre((16, 12, 10), (0.2, 0.18, 0.15))
    bare = labelled.__class__(
        **{f: getattr(labelled, f) for f in ("start", "duration", "rf", "gx", "gy", "gz", "adc")},
        rf_events=labelled.rf_events, grad_events=labelled.grad_events, adc_events=labelled.adc_events,
        labels={}, definitions={},
    )  # fmt: skip
    (told, _), (read, _) = encoding(labelled), encoding(bare)
    assert np.array_equal(read.lines, told.lines)
    assert np.array_equal(read.partitions, told.partitions)
    assert read.matrix == told.matrix == (16, 12, 10)
    assert read.fov == pytest.approx(told.fov, rel=2e-4)
    assert read.cartesian
    assert not read.repetitions.any()
