"""Rotations, soft delays and RF shims of Pulseq files."""

import numpy as np
import pypulseq as pp
import pytest
from scipy.spatial.transform import Rotation

from protocols import GradEvent, SeqFileError, Sequence, SequenceError, read_seq
from protocols.pulseq.reader import parse_seq
from protocols.pulseq.rotations import common_knots, rotation_matrix
from protocols.sequence import COUNTER_LABELS, FLAG_LABELS

from .seq_text import BASE, sign

LABEL = "extension LABELSET 1\n1 5 LIN"


def with_extension(text, lists="1 1 1 0"):
    return BASE.replace("[EXTENSIONS]\n1 1 1 0", f"[EXTENSIONS]\n{lists}").replace(LABEL, text)


def read(text, **options):
    return parse_seq(sign(text), **options)


def sampled(event, at):
    """Left and right limits at times that may be knots."""
    if event is None:
        return np.zeros((2, at.size))
    eps = 1e-11
    return np.array([np.interp(at + s, event.times, event.values, left=0, right=0) for s in (-eps, eps)])


def rotated_file(quaternion, blocks=None):
    text = with_extension("extension ROTATIONS 1\n1 " + " ".join(f"{q:.9g}" for q in quaternion))
    return text if blocks is None else text.replace("2 100 0 1 2 0 1 1", blocks)


def random_quaternion(seed):
    q = np.random.default_rng(seed).normal(size=4)
    return q / np.linalg.norm(q)


def test_the_matrix_is_that_of_the_reference_definition():
    """Scalar first, right-handed: scipy's Rotation (scalar last) gives the same matrix."""
    for seed in range(5):
        q = random_quaternion(seed)
        np.testing.assert_allclose(
            rotation_matrix(q), Rotation.from_quat(q[[1, 2, 3, 0]]).as_matrix(), atol=1e-15
        )
        np.testing.assert_allclose(rotation_matrix(-1.0007 * q), rotation_matrix(q), atol=1e-15)


def test_a_rotation_about_z_turns_as_pypulseq_rotates():
    """``makeRotation(phi)`` stores [cos(phi/2) 0 0 sin(phi/2)]; ``rotate`` is the older way to say it."""
    phi = 0.7
    sequence = read(rotated_file([np.cos(phi / 2), 0, 0, np.sin(phi / 2)], "2 100 0 1 0 0 1 1"))
    trap = pp.make_trapezoid("x", amplitude=50000, rise_time=100e-6, flat_time=300e-6, fall_time=100e-6)
    wanted = {event.channel: event.amplitude for event in pp.rotate(trap, angle=phi, axis="z")}
    gx, gy, gz = sequence.gradients(1)
    # nine digits of the quaternion in the file
    assert np.abs(gx.values).max() == pytest.approx(wanted["x"], rel=1e-8)
    assert gy.values.max() == pytest.approx(wanted["y"], rel=1e-8)
    assert gz is None
    np.testing.assert_array_equal(gx.times, sequence.grad_events[1].times)


def test_rotated_gradients_are_the_matrix_times_the_played_ones():
    q = random_quaternion(11)
    plain = read(BASE)
    turned = read(rotated_file(q))
    at = np.sort(np.concatenate([np.linspace(0, 1e-3, 997), *(e.times for e in plain.grad_events)]))
    before = np.stack([sampled(event, at) for event in plain.gradients(1)])
    after = np.stack([sampled(event, at) for event in turned.gradients(1)])
    wanted = np.einsum("ij,jkt->ikt", Rotation.from_quat(q[[1, 2, 3, 0]]).as_matrix(), before)
    # 50 kHz/m over 100 us times the offset of 1e-11 s of the limits; quaternions have nine digits
    np.testing.assert_allclose(after, wanted, atol=0.02)
    assert turned.labels == {}
    np.testing.assert_allclose(
        turned.block_moments()[1], rotation_matrix(q) @ plain.block_moments()[1], rtol=1e-7
    )
    assert [event is None for event in turned.gradients(0)] == [True] * 3


def test_rotated_events_are_shared_by_equal_blocks():
    rows = "\n".join(f"{n} 100 0 1 2 0 1 1" for n in range(10, 40))
    sequence = read(rotated_file(random_quaternion(2), "2 100 0 1 2 0 1 1\n" + rows))
    assert len(sequence.grad_events) == 2 + 3
    assert np.unique(sequence.gx[sequence.gx > 0]).size == 1


def test_the_identity_and_its_negative_change_nothing():
    for q in ([1, 0, 0, 0], [-1, 0, 0, 0]):
        sequence = read(rotated_file(q))
        assert len(sequence.grad_events) == 2
        np.testing.assert_array_equal(sequence.gx, read(BASE).gx)


def test_common_knots_keep_vertical_edges():
    first = GradEvent(times=np.array([0, 1, 1, 4.0]), values=np.array([2, 2, -1, -1.0]))
    second = GradEvent(times=np.array([1, 3, 5.0]), values=np.array([0, 4, 0.0]))
    times, values = common_knots([first, None, second])
    np.testing.assert_allclose(times, [0, 1, 1, 3, 4, 4, 5])
    np.testing.assert_allclose(values[0], [2, 2, -1, -1, -1, 0, 0])
    np.testing.assert_allclose(values[2], [0, 0, 0, 4, 2, 2, 0])
    assert not values[1].any()


def test_common_knots_join_times_that_differ_by_rounding():
    first = GradEvent(times=np.array([0, 0.1 + 0.2, 1.0]), values=np.array([0, 1, 0.0]))
    second = GradEvent(times=np.array([0, 0.3, 1.0]), values=np.array([0, -2, 0.0]))
    times, values = common_knots([first, second])
    np.testing.assert_allclose(times, [0, 0.3, 1.0])
    np.testing.assert_array_equal(values, [[0, 1, 0], [0, -2, 0]])


def test_random_curves_survive_the_union_of_knots():
    rng = np.random.default_rng(8)
    events = []
    for _ in range(3):
        times = np.sort(rng.integers(0, 40, 12)) * 1e-5  # with repeated times
        events.append(GradEvent(times=times, values=rng.normal(size=12)))
    times, values = common_knots(events)
    at = (rng.permutation(4000) + 0.5) * 1e-7
    for event, row in zip(events, values, strict=True):
        wanted = np.interp(at, event.times, event.values, left=0, right=0)
        np.testing.assert_allclose(np.interp(at, times, row, left=0, right=0), wanted, atol=1e-12)


DELAYS = "extension DELAYS 1\n1 0 100 2 TE\n2 1 -200 -1 TR\n3 0 0 1 TE"
DELAY_LISTS = "1 1 1 0\n2 1 2 0\n3 1 3 0"


def delay_file():
    text = with_extension(DELAYS, DELAY_LISTS)
    text = text.replace("3 50 0 0 0 0 0 0", "3 50 0 0 0 0 0 1\n4 60 0 0 0 0 0 2\n5 70 0 0 0 0 0 3")
    return text.replace("2 100 0 1 2 0 1 1", "2 100 0 1 2 0 1 0")


def test_without_values_the_stored_durations_stand():
    sequence = read(delay_file())
    np.testing.assert_allclose(sequence.duration[2:], [500e-6, 600e-6, 700e-6])
    # value = (duration - offset) * factor of the first block with the hint
    assert sequence.soft_delays == pytest.approx({"TE": 800e-6, "TR": -800e-6})


def test_values_set_the_durations_by_hint():
    sequence = read(delay_file(), soft_delays={"TE": 2e-3})
    np.testing.assert_allclose(sequence.duration[2:], [1100e-6, 600e-6, 2000e-6])
    np.testing.assert_allclose(sequence.start[3], sequence.duration[:3].sum())
    assert sequence.soft_delays["TE"] == pytest.approx(2e-3)
    sequence = read(delay_file(), soft_delays={"TR": -1e-3, "TE": 0.2e-3})
    np.testing.assert_allclose(sequence.duration[2:], [200e-6, 800e-6, 200e-6])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"TI": 1.0}, r"hints of the file \(TE, TR\); got 'TI'"),
        ({"TE": 2.0013e-3}, "multiple of 1e-05 s.*Hints of the file: TE, TR"),
        ({"TR": 1e-3}, "not below 0; got -0.0012 s.*Hints of the file: TE, TR"),
        ({"TE": float("nan")}, "multiple of 1e-05"),
        ({"TE": float("inf")}, "multiple of 1e-05"),
    ],
)
def test_impossible_values_name_the_hints(values, message):
    with pytest.raises(SeqFileError, match=message):
        read(delay_file(), soft_delays=values)


def test_a_soft_delay_must_hold_the_events_of_its_block():
    text = delay_file().replace("2 100 0 1 2 0 1 0", "2 100 0 1 2 0 1 3")
    assert read(text, soft_delays={"TE": 600e-6}).duration[1] == pytest.approx(600e-6)
    with pytest.raises(SeqFileError, match=r"must end inside their block of 0.0004 s.*'TE'.*Hints"):
        read(text, soft_delays={"TE": 400e-6})


def test_files_without_soft_delays_have_no_hints(tmp_path):
    (tmp_path / "base.seq").write_bytes(sign(BASE))
    assert read_seq(tmp_path / "base.seq").soft_delays == {}
    with pytest.raises(SeqFileError, match="hints of the file \\(none\\)"):
        read_seq(tmp_path / "base.seq", soft_delays={"TE": 1e-3})


def test_soft_delays_that_pypulseq_writes(tmp_path):
    sequence = pp.Sequence()
    sequence.add_block(pp.make_soft_delay("TE", offset=-1e-3, factor=2, default_duration=5e-3))
    sequence.add_block(pp.make_delay(1e-3))
    sequence.add_block(pp.make_soft_delay("TR", default_duration=20e-3))
    sequence.write(str(tmp_path / "soft.seq"))
    sequence.apply_soft_delay(TE=30e-3)
    wanted = list(sequence.block_durations.values())
    ours = read_seq(tmp_path / "soft.seq", soft_delays={"TE": 30e-3})
    np.testing.assert_allclose(ours.duration, wanted)
    assert read_seq(tmp_path / "soft.seq").soft_delays == pytest.approx({"TE": 12e-3, "TR": 20e-3})


def test_shims_are_complex_weights_per_channel():
    text = with_extension("extension RF_SHIMS 1\n4 2 1 0 0.5 1.5\n7 3 1 0 1 -2 0 3", "1 1 7 0\n2 1 4 0")
    text = text.replace("1 20 1 0 0 0 0 0", "1 20 1 0 0 0 0 2")
    sequence = read(text)
    assert sequence.shim.tolist() == [1, 2, 0]
    assert sequence.shim.dtype == np.int32
    np.testing.assert_allclose(sequence.rf_shims[0], [1, 0.5 * np.exp(1.5j)])
    np.testing.assert_allclose(sequence.rf_shims[1], [1, np.exp(-2j), 0])


def test_without_shims_every_block_plays_as_it_is():
    sequence = read(BASE)
    assert sequence.rf_shims == ()
    assert sequence.shim.tolist() == [0, 0, 0]


def test_a_sequence_must_know_its_shims():
    parts = {name: getattr(read(BASE), name) for name in Sequence.__dataclass_fields__}
    with pytest.raises(SequenceError, match=r"shim must refer to events 0..0; got 0..1"):
        Sequence(**{**parts, "shim": np.array([1, 0, 0], dtype=np.int32)})
    with pytest.raises(SequenceError, match="shim must have one entry per block"):
        Sequence(**{**parts, "shim": np.array([1, 0], dtype=np.int32)})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("ROTATIONS 1\n1 0.7 0 0 0.7", "norm 1; got 0.98"),
        ("ROTATIONS 1\n1 0 0 0 0", "norm 1; got 0"),
        ("ROTATIONS 1\n1 2 0 0 0", "quaternion 0 must be"),
        ("ROTATIONS 1\n1 nan 0 0 1", "quaternion 0 must be a finite number"),
        ("ROTATIONS 1\n1 1 0 0", "rows must have 5 columns"),
        ("ROTATIONS 1\n2 1 0 0 0", "refers to a missing extension entry"),
        ("ROTATIONS 1\n1 1 0 0 0\n1 1 0 0 0", "id 1 must be unique"),
        ("RF_SHIMS 1\n1 2 1 0 1", "rows must have 6 columns; got 5"),
        ("RF_SHIMS 1\n1 2 1 0 1 0 1 0", "rows must have 6 columns; got 8"),
        ("RF_SHIMS 1\n1 0", "number of RF shim channels must be 1..1024"),
        ("RF_SHIMS 1\n1 900000000000 1 0", "number of RF shim channels must be 1..1024"),
        ("RF_SHIMS 1\n1", "rows must have 4 columns; got 1"),
        ("RF_SHIMS 1\n1 1 -1 0", "magnitude must be"),
        ("RF_SHIMS 1\n1 1 1 inf", "phase must be a finite number"),
        ("DELAYS 1\n1 0 0 0 TE", "factor must not be 0"),
        ("DELAYS 1\n1 0 0 1", "rows must have 5 columns"),
        ("DELAYS 1\n1 0 0 1 TE TR", "rows must have 5 columns"),
        ("DELAYS 1\n1 -1 0 1 TE", "soft delay number must be"),
        ("DELAYS 1\n1 0 x 1 TE", "soft delay offset must be a finite number"),
        ("DELAYS 1\n1 0 0 1 TE\n2 1 0 1 TE", "number and hint must go together"),
        ("DELAYS 1\n1 0 0 1 TE\n2 0 0 1 TR", "number and hint must go together"),
        ("TRIGGERS 1\n1 2 1 0", "rows must have 5 columns"),
        ("ROTATIONS 1\n1 1 0 0 0\nextension ROTATIONS 2\n1 1 0 0 0", "must be used once"),
    ],
)
def test_malformed_rows(rows, message):
    text = with_extension(f"extension {rows}")
    with pytest.raises(SeqFileError, match=message) as caught:
        read(text)
    assert caught.value.line is not None


def test_one_rotation_per_block():
    text = with_extension("extension ROTATIONS 1\n1 1 0 0 0\n2 0 1 0 0", "1 1 1 2\n2 1 2 0")
    with pytest.raises(SeqFileError, match="ROTATIONS must come once per block"):
        read(text)


def test_long_lists_of_extensions_are_refused():
    lists = "\n".join(f"{n} 1 1 {n + 1}" for n in range(1, 400)) + "\n400 1 1 0"
    with pytest.raises(SeqFileError, match="extension list 1 must hold <= 256 entries"):
        read(with_extension(LABEL, lists))


def test_labels_count_from_the_block_that_sets_them_first():
    text = with_extension("extension LABELINC 1\n1 1 ACQ\n2 3 TRID", "1 1 1 0\n2 1 2 1")
    rows = "\n".join(f"{n} 100 0 1 2 0 1 {n % 2 + 1}" for n in range(10, 16))
    sequence = read(text.replace("2 100 0 1 2 0 1 1", "2 100 0 1 2 0 1 1\n" + rows))
    assert sequence.label("ACQ").tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert sequence.label("TRID").tolist() == [0, 0, 3, 3, 6, 6, 9]


def test_labels_are_those_of_the_toolbox():
    assert set(COUNTER_LABELS + FLAG_LABELS) == set(pp.get_supported_labels())


def test_every_cut_of_a_file_with_all_extensions_is_refused():
    text = with_extension(
        f"{LABEL}\n\nextension ROTATIONS 2\n1 0 0 0 1\n\nextension RF_SHIMS 3\n1 2 1 0 1 0\n\n"
        "extension DELAYS 4\n1 0 0 1 TE",
        "1 1 1 2\n2 2 1 3\n3 3 1 4\n4 4 1 0",
    )
    data = sign(text)
    whole = parse_seq(data)
    np.testing.assert_allclose(whole.gradients(1)[0].values.min(), -50000)  # 180 degrees about z
    for end in range(len(data) - 1):
        with pytest.raises(SeqFileError):
            parse_seq(data[:end])
