"""Our reader against the blocks that the MATLAB toolbox and KomaMRI read from the same files."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from protocols import SeqFileError, read_seq

KOMA = Path(__file__).parents[2].parent / "shared" / "refdata" / "koma"
GAMMA_KOMA = 42.5774688e6  # Hz/T, the constant the .mat files were written with
FILES = sorted(KOMA.glob("**/*.seq"))
# Upstream edited these four after they were signed (the Name line, the shape samples).
STALE = {
    "v1.4/epi.seq",
    "v1.4/gr-uniformly-shaped.seq",
    "v1.5/gr-uniformly-shaped.seq",
    "v1.5/gr-time-shaped.seq",
}
pytestmark = pytest.mark.skipif(not FILES, reason="reference files ../shared/refdata/koma are not here")


def short(path):
    return "/".join(path.parts[-2:])


def gradient_at(event, times):
    """Both one-sided values at each time, so that vertical edges compare."""
    times = np.asarray(times, dtype=float)
    if event is None:
        return np.zeros(times.size), np.zeros(times.size)
    eps = 1e-10
    values = [np.interp(times + s, event.times, event.values, left=0, right=0) for s in (-eps, eps)]
    return values[0], values[1]


def as_list(reference, key):
    return np.atleast_1d(np.asarray(reference[key], dtype=complex if key == "A" else float))


def check_gradient(reference, event, start):
    times, values = as_list(reference, "t"), as_list(reference, "A").real * GAMMA_KOMA
    if times.size == 0:
        assert event is None or not np.any(event.values)
        return
    if times.size > 1 and times[0] == times[1]:  # KomaMRI repeats the edge of the block before
        times, values = times[1:], values[1:]
    below, above = gradient_at(event, times - start)
    scale = max(1.0, np.abs(values).max())
    error = np.minimum(np.abs(below - values), np.abs(above - values))
    # 2e-5: the one-sided offset of 0.1 ns on a ramp; constants and print precision are below it.
    assert error.max() <= 2e-5 * scale
    assert np.abs(event.values).max() == pytest.approx(scale, rel=1e-6)


def check_rf(reference, event, start):
    times, values = as_list(reference["rf"], "t"), as_list(reference["rf"], "A") * GAMMA_KOMA
    if times.size == 0:
        assert event is None
        return
    inner, wanted = times[1:-1] - start, values[1:-1]  # the ends are padding
    if inner.size != event.times.size:  # padded once on the right only
        inner, wanted = times[1:] - start, values[1:]
        inner, wanted = inner[: event.times.size], wanted[: event.times.size]
    np.testing.assert_allclose(event.times, inner, atol=1e-9)
    ours = event.b1 * np.exp(1j * event.phase_offset)
    # Phases are stored with 1e-6 turns at worst, amplitudes with 6 digits.
    assert np.abs(ours - wanted).max() <= 1e-5 * np.abs(wanted).max()
    np.testing.assert_allclose(np.atleast_1d(reference["df"]["A"])[1], event.freq_offset, atol=1e-6)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_every_file_reads(path):
    sequence = read_seq(path, allow_unsigned=True)
    assert sequence.n_blocks > 0
    total = sequence.definitions.get("TotalDuration")
    if total is not None:  # definitions carry six digits
        assert sequence.total_duration == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("path", [p for p in FILES if p.with_suffix(".mat").is_file()], ids=short)
def test_blocks_equal_the_reference(path):
    blocks = loadmat(path.with_suffix(".mat"), simplify_cells=True)["sequence"]
    blocks = [blocks] if isinstance(blocks, dict) else blocks
    sequence = read_seq(path, allow_unsigned=True)
    assert len(blocks) == sequence.n_blocks
    for index, block in enumerate(blocks):
        start = sequence.start[index]
        for axis, event in zip(("gx", "gy", "gz"), sequence.gradients(index), strict=True):
            check_gradient(block[axis], event, start)
        check_rf(block, sequence.rf_event(index), start)
        times, adc = as_list(block["adc"], "t"), sequence.adc_event(index)
        assert (times.size == 0) == (adc is None)
        if adc is not None:
            np.testing.assert_allclose(start + adc.sample_times, times, atol=2e-9)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_signatures(path):
    raw = path.read_bytes()
    signed = b"\n[SIGNATURE]" in raw
    if signed and short(path) not in STALE:
        assert read_seq(path).signature.verified
    elif signed:
        with pytest.raises(SeqFileError, match="signature does not match"):
            read_seq(path)
        assert not read_seq(path, allow_unsigned=True).signature.verified
    elif b"minor 4" in raw:
        with pytest.raises(SeqFileError, match="no \\[SIGNATURE\\]"):
            read_seq(path)
    else:
        assert read_seq(path).signature.value == ""


def test_labels_of_a_toolbox_file():
    sequence = read_seq(KOMA / "seq" / "v1.3" / "gre_lbl.seq")
    # gre_label.m: LIN is counted up after each readout and cleared with each of the SLC steps.
    lin = sequence.label("LIN")
    assert lin[:5].tolist() == [0, 1, 2, 3, 4]
    assert lin.max() == 63 or lin.max() == 255
    assert not sequence.label("NOISE").any()


def test_signature_is_the_md5_of_what_precedes_it():
    raw = (KOMA / "seq" / "v1.5" / "fid.seq").read_bytes()
    body = raw[: raw.index(b"\n[SIGNATURE]")]
    assert read_seq(KOMA / "seq" / "v1.5" / "fid.seq").signature.value == hashlib.md5(body).hexdigest()
