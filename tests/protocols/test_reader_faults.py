"""Every fault of a sequence file is one clear error, quickly; a cut never gives a wrong sequence."""

from pathlib import Path

import numpy as np
import pytest

from protocols import SeqFileError, list_scanners, load_protocol, load_scanner, read_seq, write_seq
from protocols.pulseq.reader import parse_seq
from protocols.pulseq.seqfile import decompress

from .seq_text import BASE, sign

KOMA = Path(__file__).parents[2].parent / "shared" / "refdata" / "koma" / "seq"


def test_the_base_file_reads():
    sequence = parse_seq(sign(BASE))
    assert sequence.signature.verified
    assert sequence.n_blocks == 3
    assert sequence.label("LIN").tolist() == [5]
    assert sequence.total_duration == pytest.approx(1.7e-3)
    pulse = sequence.rf_event(0)
    assert pulse.use == "excitation"
    assert pulse.center == pytest.approx(150e-6)
    assert pulse.flip_angle == pytest.approx(2 * np.pi * 250 * 100e-6)
    gx, gy, gz = sequence.gradients(1)
    assert gx.area == pytest.approx(50000 * 400e-6)
    assert gz is None
    np.testing.assert_allclose(gy.times, np.array([20, 25, 35, 45, 55, 60]) * 1e-6)
    np.testing.assert_allclose(gy.values, [0, 500, 1000, 1000, 500, 0])


FAULTS = [
    ("minor 5", "minor 6", "version must be 1.2 to 1.5"),
    ("major 1", "major 9", "version must be 1.2 to 1.5"),
    ("minor 5", "minor 1", "version must be 1.2 to 1.5; got 1.1.0"),
    ("major 1", "major 2", "version must be 1.2 to 1.5; got 2.5.0"),
    ("minor 5", "minor 50", "version must be 1.2 to 1.5; got 1.50.0"),
    ("revision 0", "revision x", "VERSION"),
    ("[VERSION]\nmajor 1\nminor 5\nrevision 0\n", "", "section \\[VERSION\\] is missing"),
    ("[BLOCKS]", "[EXTENSIONS]", "must come once"),
    ("[TRAP]", "[TRIP]", "section \\[TRIP\\] is unknown"),
    ("extension LABELSET 1", "extension WARP 1", "extension must be one of"),
    ("1 5 LIN", "1 5 LINE", "label must be"),
    ("BlockDurationRaster 1e-05\n", "BlockDurationRaster 0\n", "BlockDurationRaster must"),
    ("GradientRasterTime 1e-05\n", "GradientRasterTime inf\n", "GradientRasterTime must"),
    ("AdcRasterTime 1e-07\n", "", "AdcRasterTime is required"),
    ("1 50000 100", "1 nan 100", "amplitude must be a finite number"),
    ("1 50000 100", "1 inf 100", "amplitude must be a finite number"),
    ("1 50000 100", "1 5_0 100", "amplitude must be a finite number"),
    ("1 50000 100 300 100 10", "1 50000 -100 300 100 10", "rise must be"),
    ("1 50000 100 300 100 10", "1 50000 100 300 100", "rows must have 6 columns"),
    ("1 50000 100 300 100 10", "1 50000 100 9300 100 10", "events must end inside their block"),
    ("1 16 10000 100 0", "1 16 10000 841 0", "events must end inside their block of 0.001 s; got 0.001001"),
    ("1 16 10000 100 0", "1 160 10000 100 0", "events must end inside their block"),
    ("1 16 10000 100 0", "1 20000000000 10000 100 0", "num must be"),
    ("1 16 10000 100 0", "1 16.5 10000 100 0", "num must be an integer"),
    ("1 16 10000 100 0", "1 16 0 100 0", "dwell must be"),
    ("1 250 1 2 0 50", "1 250 1 7 0 50", "phase_id 7 does not exist"),
    ("1 250 1 2 0 50", "1 250 1 3 0 50", "must be equally long"),
    ("1 250 1 2 0 50", "1 250 1 2 0 500", "RF center must lie inside"),
    ("0.5 e\n", "0.5 q\n", "RF use must be one of"),
    ("1 250 1 2 0 50 100", "1 250 1 2 0 50 101", "events must end inside their block"),
    ("1 250 1 2 0 50", "1 250 1 2 0 nan", "center must be a finite number"),
    ("1 250 1 2 0 50", "1 250 9 2 0 50", "mag_id 9 does not exist"),
    ("2 1000 0 0 3 0 20", "2 1000 0 0 9 0 20", "shape_id 9 does not exist"),
    ("2 1000 0 0 3 0 20", "2 1000 0 0 3 1 20", "must be equally long"),
    ("2 1000 0 0 3 0 20", "1 1000 0 0 3 0 20", "must not be in \\[GRADIENTS\\] and in \\[TRAP\\]"),
    ("2 100 0 1 2 0 1 1", "2 100 0 1 2 0 1", "rows must have 8 columns"),
    ("3 50 0 0 0 0 0 0", "3 5_0 0 0 0 0 0 0", "entries must be integers"),
    ("3 50 0 0 0 0 0 0", "3 50\u20030 0 0 0 0 0", "entries must be integers"),
    ("3 50 0 0 0 0 0 0", "3 nan 0 0 0 0 0 0", "entries must be integers"),
    ("1 5 LIN", "1 5", "rows must have 3 columns"),
    ("1 5 LIN", "1 5 LIN\n1 6 PAR", "must be unique"),
    ("extension LABELSET 1", "extension LABELSET 0", "id must be a positive integer"),
    ("extension LABELSET 1", "extension LABELSET", "extension must be one of"),
    ("1 5 LIN\n", "1 5 LIN\n\nextension LABELINC 1\n1 1 PAR\n", "must be used once"),
    ("2 100 0 1 2 0 1 1", "2 100 9 1 2 0 1 1", "RF event 9"),
    ("2 100 0 1 2 0 1 1", "2 100 0 99 2 0 1 1", "gradient event 99"),
    ("2 100 0 1 2 0 1 1", "2 100 0 1 2 0 4 1", "ADC event 4"),
    ("2 100 0 1 2 0 1 1", "2 100 0 1 2 0 1 8", "extension list 8 does not exist"),
    ("2 100 0 1 2 0 1 1", "2 100 1 1 2 0 1 1", "RF and ADC of one block must not overlap"),
    ("2 100 0 1 2 0 1 1", "2 1e2 0 1 2 0 1 1", "entries must be integers"),
    ("2 100 0 1 2 0 1 1", "2 100 0 1 -2 0 1 1", "BLOCKS"),
    ("2 100 0 1 2 0 1 1", "1 100 0 1 2 0 1 1", "ids must be unique"),
    ("2 100 0 1 2 0 1 1", "2 9999999999999999999 0 1 2 0 1 1", "BLOCKS"),
    ("[EXTENSIONS]\n1 1 1 0", "[EXTENSIONS]\n1 1 1 1", "runs in a circle"),
    ("[EXTENSIONS]\n1 1 1 0", "[EXTENSIONS]\n1 1 4 0", "missing extension entry"),
    ("num_samples 4", "num_samples 5", "must decompress to 5"),
    ("num_samples 4", "num_samples 900000000000", "num_samples must be"),
    ("1\n0\n0\n97", "1\n0\n0\n1e300", "must decompress to 100"),
    ("1\n0\n0\n97", "1\n0\n0\n-97", "must decompress to 100"),
    ("1\n0\n0\n97", "1\n0\n0\nx", "shape samples must be finite"),
    ("shape_id 3", "shape_id 2", "must be unique"),
    ("[ADC]", "[TRAP]", "must come once"),
    ("# made by hand", "made by hand", "content before the first section"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_one_clear_error_per_fault(old, new, message):
    assert old in BASE
    with pytest.raises(SeqFileError, match=message) as caught:
        parse_seq(sign(BASE.replace(old, new, 1)))
    assert len(str(caught.value)) < 300


def test_a_sequence_of_months_is_refused():
    text = BASE.replace("BlockDurationRaster 1e-05", "BlockDurationRaster 1e-02")
    with pytest.raises(SeqFileError, match="must not last longer"):
        parse_seq(sign(text.replace("3 50 0", "3 2000000000 0")))


def test_errors_name_the_line():
    text = BASE.replace("1 50000 100", "1 nan 100")
    number = text.split("\n").index("1 nan 100 300 100 10") + 1
    with pytest.raises(SeqFileError, match=f"^line {number}:") as caught:
        parse_seq(sign(text))
    assert caught.value.line == number


@pytest.mark.parametrize(
    "row", ["TRIGGERS 1\n1 2 1 0 2000", "DELAYS 1\n1 0 0 1 TE", "ROTATIONS 1\n1 1 0 0 0"]
)
def test_harmless_extensions_are_read(row):
    assert parse_seq(sign(BASE.replace("LABELSET 1\n1 5 LIN", row))).labels == {}


def test_changed_content_needs_consent():
    changed = sign(BASE).replace(b"1 50000 100", b"1 51000 100")
    with pytest.raises(SeqFileError, match="signature does not match"):
        parse_seq(changed)
    assert not parse_seq(changed, allow_unsigned=True).signature.verified
    with pytest.raises(SeqFileError, match="must be the last section"):
        parse_seq(sign(BASE) + b"[ADC]\n1 16 10000 100 0 0 0 0 0\n")
    with pytest.raises(SeqFileError, match="no \\[SIGNATURE\\]"):
        parse_seq(BASE.encode())
    with pytest.raises(SeqFileError, match="UTF-8"):
        parse_seq(b"\xff\xfe" + BASE.encode())


@pytest.mark.parametrize("allow_unsigned", [False, True])
def test_a_cut_file_is_refused_at_every_byte(allow_unsigned):
    """Only cuts that lose nothing but the signature may pass, and only with consent."""
    data = sign(BASE)
    whole = parse_seq(data)
    body = data.index(b"\n[SIGNATURE]")
    for end in range(len(data) - 1):
        try:
            sequence = parse_seq(data[:end], allow_unsigned=allow_unsigned)
        except SeqFileError:
            continue
        assert allow_unsigned
        assert end >= body - 2  # the two line breaks that end [SHAPES]
        np.testing.assert_array_equal(sequence.duration, whole.duration)
        for ours, theirs in zip(sequence.grad_events, whole.grad_events, strict=True):
            np.testing.assert_array_equal(ours.values, theirs.values)


@pytest.mark.skipif(not KOMA.is_dir(), reason="reference files ../shared/refdata/koma are not here")
@pytest.mark.parametrize("name", ["v1.2/fid.seq", "v1.3/gre_lbl.seq", "v1.4/spiral.seq", "v1.5/epi.seq"])
def test_cuts_of_real_files(name):
    data = (KOMA / name).read_bytes()
    whole = parse_seq(data)
    rng = np.random.default_rng(5)
    for end in rng.integers(0, len(data) - 40, 25).tolist():
        try:
            sequence = parse_seq(data[:end], allow_unsigned=True)
        except SeqFileError:
            continue
        # what passes lost comments or the signature only
        assert b"[SIGNATURE]" in data[end - 400 :] or not data[end:].strip()
        np.testing.assert_array_equal(sequence.duration, whole.duration)


def equal(ours, theirs):
    """Whether two sequences play the same."""
    numbers = ("duration", "rf", "gx", "gy", "gz", "adc", "shim")
    return (
        all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in numbers)
        and all(np.array_equal(a.b1, b.b1) for a, b in zip(ours.rf_events, theirs.rf_events, strict=True))
        and all(
            np.array_equal(a.values, b.values)
            for a, b in zip(ours.grad_events, theirs.grad_events, strict=True)
        )
        and ours.definitions == theirs.definitions
    )


@pytest.mark.skipif(not KOMA.is_dir(), reason="reference files ../shared/refdata/koma are not here")
@pytest.mark.parametrize("name", ["v1.2/fid.seq", "v1.3/fid.seq", "v1.2/epi_JEMRIS.seq", "v1.5/fid.seq"])
def test_cuts_at_line_ends_of_unsigned_files(name):
    """Nothing marks such a cut, yet what is missing is missed: no cut plays something else."""
    data = (KOMA / name).read_bytes()
    whole = parse_seq(data)
    for end in [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]:
        try:
            assert equal(parse_seq(data[:end], allow_unsigned=True), whole)
        except SeqFileError:
            continue


def test_pulses_and_readouts_may_touch_at_a_block_border():
    """An event never leaves its block, so that they cannot overlap across the border."""
    text = BASE.replace("1 20 1 0 0 0 0 0", "1 20 1 0 0 0 0 0\n9 16 0 0 0 0 2 0")
    text = text.replace("1 16 10000 100 0 0 0 0 0", "1 16 10000 100 0 0 0 0 0\n2 16 10000 0 0 0 0 0 0")
    sequence = parse_seq(sign(text))
    assert sequence.rf_event(0).end == pytest.approx(sequence.start[1])
    assert sequence.adc_event(1).end == pytest.approx(sequence.duration[1])


def test_a_pulse_of_no_length_is_refused():
    text = BASE.replace("1 250 1 2 0 50 100", "1 250 4 4 4 0 100")
    text = text.replace("shape_id 3", "shape_id 4\nnum_samples 1\n0\n\nshape_id 3")
    with pytest.raises(SeqFileError, match="must last longer than 0 s"):
        parse_seq(sign(text))


def test_random_damage_never_escapes_the_error_class():
    data = bytearray(BASE.encode())
    rng = np.random.default_rng(7)
    letters = np.frombuffer(b"0123456789 \n.-e[]#xNa", dtype=np.uint8)
    for _ in range(400):
        damaged = data.copy()
        for position in rng.integers(0, len(data), 3):
            damaged[position] = int(rng.choice(letters))
        try:
            parse_seq(bytes(damaged), allow_unsigned=True)
        except SeqFileError:
            continue


@pytest.mark.parametrize(
    ("packed", "count", "wanted"),
    [
        ([0.0, 0.0, 3.0], 5, [0, 0, 0, 0, 0]),
        ([1.0, 0.0, 0.0, 2.0], 5, [1, 1, 1, 1, 1]),
        ([0.0, 0.1, 0.1, 1.0, 0.25, -0.25], 6, [0, 0.1, 0.2, 0.3, 0.55, 0.3]),
    ],
)
def test_decompression_of_the_specification_examples(packed, count, wanted):
    np.testing.assert_allclose(
        decompress(np.array(packed), count, always_compressed=True), wanted, atol=1e-15
    )


def test_a_file_of_25k_blocks_reads(tmp_path):
    protocol = load_protocol("onharmony-prisma-t1w-mprage").at_resolution(0.002)
    write_seq(tmp_path / "mprage.seq", protocol, load_scanner(protocol.scanner))
    sequence = read_seq(tmp_path / "mprage.seq")
    assert sequence.n_blocks > 20_000
    assert "siemens-prisma-3t" in list_scanners()
