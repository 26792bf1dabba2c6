"""Selective pulses: raster and limits on every scanner, the right slice with the right phase."""

import dataclasses
import math

import numpy as np
import pytest

from protocols import BuildError, RecordError, load_scanner, rf_steps, timing_errors
from protocols.cards.settings import Selection
from protocols.families.composer import Block, Composer, up
from protocols.families.selection import selective_pulse, slice_groups, slice_order, slice_positions
from protocols.pulseq.reader import read_seq

MACHINES = ("ge-mr750-3t", "philips-ingenia-3t", "siemens-prisma-3t")
SLICES = Selection(mode="slices", thickness=4e-3, gap=1e-3, n_slices=5, time_bandwidth=6.0)


def written(composer, pulse, position, phase, path):
    """One block with the pulse, read back from the file."""
    duration = up(pulse.end, composer.block_raster)
    composer.add(Block(duration=duration, rf=pulse.rf(phase, position), gz=pulse.gradient))
    assert timing_errors(composer.seq) == []
    composer.seq.write(str(path), check_timing=False)
    return read_seq(path)


def rotate(m, b1, gradient, position, width):
    """Rotation by RF b1 [Hz] (complex) and the offset of the gradient, all positions at once.

    Pulseq's sense: rotating at the carrier, the field (Re b1, Im b1, gx) turns M right-handedly here; the
    engine's sign differs by a mirror, which moves no slice.
    """
    field = np.stack([np.full(position.size, b1.real), np.full(position.size, b1.imag), gradient * position])
    rate = np.linalg.norm(field, axis=0)
    n = field / np.maximum(rate, 1e-30)
    angle = 2 * np.pi * rate * width
    cross = np.cross(n, m, axis=0)
    return m * np.cos(angle) + cross * np.sin(angle) + n * (n * m).sum(0) * (1 - np.cos(angle))


def play(sequence, position, start=(0.0, 0.0, 1.0)):
    """Magnetization at the RF centre's k = 0 after the block: rephased by the area after the centre."""
    event, gradient = sequence.rf_event(0), sequence.gradients(0)[2]
    widths, b1 = rf_steps(event, sequence.rasters["rf"])
    times = event.delay + np.cumsum(widths) - 0.5 * widths
    local = np.interp(times, gradient.times, gradient.values)
    phase = event.phase_offset + 2 * np.pi * event.freq_offset * (times - event.delay)
    m = np.tile(np.array(start)[:, None], position.size)
    edges = [float(gradient.integral(t)) for t in (event.delay, event.delay + event.shape_duration)]
    m = rotate(m, 0.0j, edges[0], position, 1.0)
    for value, angle, g, width in zip(b1, phase, local, widths, strict=True):
        m = rotate(m, value * np.exp(1j * angle), g, position, width)
    m = rotate(m, 0.0j, gradient.area - edges[1], position, 1.0)
    return rotate(m, 0.0j, float(gradient.integral(event.center)) - gradient.area, position, 1.0)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("use", ["excitation", "refocusing"])
def test_areas_split_at_the_rf_centre(tmp_path, machine, use):
    composer = Composer(load_scanner(machine))
    pulse = selective_pulse(composer, SLICES, math.pi / 2, use)
    sequence = written(composer, pulse, 0.013, 0.4, tmp_path / "p.seq")
    event, gradient = sequence.rf_event(0), sequence.gradients(0)[2]
    assert event.use == use
    assert event.center == pytest.approx(pulse.center, abs=1e-9)
    before = float(gradient.integral(event.center))
    assert before == pytest.approx(pulse.before, rel=1e-5)  # six digits in the file
    assert gradient.area - before == pytest.approx(pulse.after, rel=1e-5)
    flat = gradient.times[(gradient.values > 0.999 * gradient.values.max())]
    assert flat[0] <= event.delay + 1e-9
    assert flat[-1] >= event.end - 1e-9
    assert event.freq_offset == pytest.approx(pulse.amplitude * 0.013, rel=1e-5)
    # the phase at the centre is the one asked for
    at = event.phase_offset + 2 * np.pi * event.freq_offset * (event.center - event.delay)
    assert math.remainder(at - 0.4, 2 * math.pi) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("shape", ["sinc", "slr"])
@pytest.mark.parametrize("flip", [30.0, 90.0])
@pytest.mark.parametrize("where", [-0.0123, 0.0, 0.017])
def test_excites_its_slice_with_its_phase(tmp_path, shape, flip, where):
    """Bloch rotations through the written pulse: width, place and phase of the slice."""
    composer = Composer(load_scanner("siemens-prisma-3t"))
    card = dataclasses.replace(SLICES, pulse=shape, duration=1e-3)
    pulse = selective_pulse(composer, card, math.radians(flip), "excitation")
    sequence = written(composer, pulse, where, 1.1, tmp_path / "p.seq")
    position = where + np.linspace(-8e-3, 8e-3, 321)
    m = play(sequence, position)
    profile = m[0] + 1j * m[1]
    inside = position[np.abs(profile) > 0.5 * math.sin(math.radians(flip))]
    # Half-maximum width of the design: within 12 % of nominal for a windowed sinc at 90 degrees.
    assert np.ptp(inside) == pytest.approx(4e-3, rel=0.12)
    assert 0.5 * (inside[0] + inside[-1]) == pytest.approx(where, abs=6e-5)  # grid of 50 um
    centre = profile[160]
    assert abs(centre) == pytest.approx(math.sin(math.radians(flip)), rel=0.02)
    # A pulse of phase 1.1 about (cos, sin, 0) turns z into a transverse phase of 1.1 - 90 degrees.
    assert np.angle(centre * np.exp(-1j * (1.1 - math.pi / 2))) == pytest.approx(0.0, abs=1e-3)
    outside = np.abs(position - where) > 5e-3
    assert np.abs(profile[outside]).max() < 0.05 * math.sin(math.radians(flip))


def test_refocusing_pulse_inverts_its_slice(tmp_path):
    composer = Composer(load_scanner("philips-ingenia-3t"))
    card = dataclasses.replace(SLICES, pulse="slr", refocusing_duration=1.5e-3, refocusing_time_bandwidth=8.0)
    pulse = selective_pulse(composer, card, math.pi, "refocusing")
    sequence = written(composer, pulse, 0.01, 0.0, tmp_path / "p.seq")
    position = 0.01 + np.array([-8e-3, -1e-3, 0.0, 1e-3, 8e-3])
    mz = play(sequence, position)[2]
    np.testing.assert_allclose(mz, [1, -1, -1, -1, 1], atol=0.05)  # design ripple of 1 % in beta


def test_orders_and_positions():
    np.testing.assert_allclose(slice_positions(SLICES), [-0.01, -0.005, 0.0, 0.005, 0.01])
    assert slice_order(SLICES) == [0, 2, 4, 1, 3]
    assert slice_order(dataclasses.replace(SLICES, order="descending")) == [4, 3, 2, 1, 0]
    groups = slice_groups(dataclasses.replace(SLICES, concatenations=2))
    assert groups == [[0, 2, 4], [1, 3]]


def test_impossible_selections_say_why():
    composer = Composer(load_scanner("ge-mr750-3t"))
    with pytest.raises(BuildError, match=r"selection.thickness must be at least 0\.0\d+ m"):
        selective_pulse(composer, dataclasses.replace(SLICES, duration=2e-4), 1.0, "excitation")
    with pytest.raises(RecordError, match="thickness must be"):
        Selection(mode="slab")
    with pytest.raises(RecordError, match="n_slices must be 1 unless"):
        Selection(mode="slab", thickness=0.1, n_slices=3)
