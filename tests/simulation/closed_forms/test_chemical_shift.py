"""Fat where water is not: displacement along readout, slice and the phase direction of an echo-planar scan.

Two ramps, y = z, of water and of fat: their place along x tells the displacement along the readout, their
place along y that of the excited slice. df = -3.4 ppm of the centre frequency; along the readout df over the
bandwidth per pixel, along the slice -df over its gradient (where it finds the carrier), along the blips
df times effective echo spacing times lines.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mrsim.simulation import Session
from protocols import load_scanner
from protocols.cards.settings import Readout, Rf, Timing
from protocols.cards.settings_epi import Epi

from .bench import IDEAL, PERFECT, axis, body, card, centroid, cloud, coordinate, scan, slice_gradient, slices

PPM = -3.4
SCANNERS = ("siemens-avanto-1p5t", "siemens-prisma-3t", "ideal-3t", "siemens-terra-7t")
LINES, PIXEL = 48, 2e-3
FOV = LINES * PIXEL
SUBSTANCES = {"water": {"t1": 1.0, "t2": 0.05}, "fat": {"t1": 1.0, "t2": 0.05, "shift_ppm": PPM}}
PLACES = {"water": -0.022, "fat": 0.022}
THICKNESS = 4e-3


def ramps():
    """Water left, fat right; sheets of 3 mm (standard deviation) along y = z."""
    axes = (axis(44, 1.5e-3), axis(34, 1.25e-3), axis(22, 0.8e-3))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    sheet = cloud(y - z, 0.0, 3e-3)
    maps = {name: cloud(x, place, 3e-3) * sheet for name, place in PLACES.items()}
    return body(maps, axes, **SUBSTANCES)


def measure_gradient_echo(names=SCANNERS, bandwidth=240.0):
    """Rows (B0 [T], readout found and expected [px], slice found and expected [mm])."""
    rows = []
    for name in names:
        machine = load_scanner(name)
        protocol = card(
            "gre", (FOV, FOV, THICKNESS), (LINES, LINES, 1), selection=slices(THICKNESS),
            timing=Timing(tr=0.2, te=0.008, dummy_shots=0), rf=Rf(flip_deg=30.0, spoiler_cycles=4.0),
            readout=Readout(bandwidth=bandwidth),
        )  # fmt: skip
        done = scan(protocol, ramps(), scanner=machine)
        image = done.image()
        x, y = coordinate(image, 0), coordinate(image, 1)
        found = {}
        for side, name_ in ((-1, "water"), (1, "fat")):
            half = np.where((side * x > 0)[:, None], image.data[:, :, 0], 0.0)
            found[name_] = [centroid(half.sum(axis=1), x, 0.012), centroid(half.sum(axis=0), y, 0.014)]
        df = PPM * 1e-6 * machine.f0
        step = np.subtract(found["fat"], found["water"]) - [PLACES["fat"] - PLACES["water"], 0.0]
        expected = (df / bandwidth, -1e3 * df / slice_gradient(done.sequence))
        rows.append((machine.b0, step[0] / PIXEL, expected[0], 1e3 * step[1], expected[1]))
    return np.array(rows)


def measure_echo_planar(names=SCANNERS, lines=32, pixel=4e-3):
    """Rows (B0 [T], found and expected displacement along the blips [px]), fat folded into the matrix."""
    axes = (axis(50, 2e-3), axis(26, 2e-3), axis(6, 2e-3))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    maps = {n: cloud(x, 1.3 * p, 6e-3) * cloud(y, 0.0, 6e-3) * np.ones_like(z) for n, p in PLACES.items()}
    rows = []
    for name in names:
        machine = load_scanner(name)
        protocol = card(
            "epi", (lines * pixel, lines * pixel, pixel), (lines, lines, 1), suffix="bold",
            selection=slices(pixel), timing=Timing(tr=1.0, te=0.03, dummy_shots=0), rf=Rf(flip_deg=60.0),
            readout=Readout(bandwidth=2000.0, oversampling=1),
            epi=Epi(ramp_sampling=False, navigator=False),
        )  # fmt: skip
        done = scan(protocol, body(maps, axes, **SUBSTANCES), scanner=machine)
        image = done.image()
        x_, y_ = coordinate(image, 0), coordinate(image, 1)
        place = []
        for side in (-1, 1):
            profile = np.where((side * x_ > 0)[:, None], image.data[:, :, 0], 0.0).sum(axis=0)
            roll = lines // 2 - int(np.argmax(profile))
            place.append(centroid(np.roll(profile, roll), y_, 0.022) - roll * pixel)
        expected = PPM * 1e-6 * machine.f0 * done.sequence.definitions["EffectiveEchoSpacing"] * lines
        found = (place[1] - place[0]) / pixel
        found += lines * np.rint((expected - found) / lines)
        rows.append((machine.b0, found, expected))
    return np.array(rows)


def check(rows):
    for b0, read, wanted, mm, wanted_mm in rows:
        print(f"{b0:.3f} T: readout {read:+.4f} px ({wanted:+.4f}), slice {mm:+.4f} mm ({wanted_mm:+.4f})")
    # Centres of mass of clouds of 1.5 pixels; the slice's profile is symmetric, its ramps sampled at 0.8 mm.
    np.testing.assert_allclose(rows[:, 1], rows[:, 2], atol=5e-3)
    np.testing.assert_allclose(rows[:, 3], rows[:, 4], atol=5e-3)


def test_off_resonance_moves_the_slice_as_chemical_shift_does():
    """Uniform offset f: the slice lies -f / G beside its place, found as the heads of ramps along y."""
    protocol = card(
        "gre", (FOV, FOV, THICKNESS), (LINES, LINES, 1), selection=slices(THICKNESS),
        timing=Timing(tr=0.2, te=0.008, dummy_shots=0), rf=Rf(flip_deg=30.0, spoiler_cycles=4.0),
        readout=Readout(bandwidth=2000.0),
    )  # fmt: skip
    found = []
    for offset in (0.0, 300.0):
        done = scan(
            protocol, ramps(), options=dataclasses.replace(PERFECT, b0=True, chemical_shift=False),
            session=Session(frequency_offset=offset),
        )  # fmt: skip
        image = done.image()
        x, y = coordinate(image, 0), coordinate(image, 1)
        half = np.where((x < 0)[:, None], image.data[:, :, 0], 0.0)
        found.append(centroid(half.sum(axis=0), y, 0.014))
    expected = -300.0 / slice_gradient(done.sequence)
    print(f"slice moved {1e3 * (found[1] - found[0]):+.4f} mm ({1e3 * expected:+.4f})")
    # As for fat: centres of mass, ramps sampled at 0.8 mm.
    assert found[1] - found[0] == pytest.approx(expected, rel=0.02)


def test_readout_and_slice():
    assert IDEAL.b0 == pytest.approx(3.0)
    check(measure_gradient_echo(("ideal-3t",)))


@pytest.mark.slow
def test_readout_and_slice_at_every_field():
    rows = measure_gradient_echo()
    check(rows)
    # 240 Hz/px at 3 T: 1.81 px (reference table).
    assert abs(rows[2, 2]) == pytest.approx(1.81, abs=0.005)


def test_phase_direction_of_an_echo_planar_scan():
    rows = measure_echo_planar(("ideal-3t",))
    print(rows)
    np.testing.assert_allclose(rows[:, 1], rows[:, 2], atol=5e-3)


@pytest.mark.slow
def test_phase_direction_at_every_field():
    rows = measure_echo_planar()
    np.testing.assert_allclose(rows[:, 1], rows[:, 2], atol=5e-3)
