"""Off-resonance in echo-planar images: shift and pile-up along the phase encoding.

A train of effective echo spacing t samples ky = n / FOV at n t: df adds the phase of a shift along the blips
by df t FOV, that is df t N voxels. FSL's total readout time t (N - 1) gives 1 / N less. A field df(y) = g y
moves y to y (1 + s), s = g t FOV; the signal is kept, so the intensity is divided by 1 + s.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsim.simulation import Session
from protocols.cards.settings import Readout, Rf, Timing
from protocols.cards.settings_epi import Epi

from .bench import PLAIN, WITH_FIELD, axis, body, card, centroid, cloud, coordinate, scan, slices

LINES, PIXEL = 32, 4e-3
FOV = LINES * PIXEL
FINE = replace(PLAIN, zero_fill=(LINES, 8 * LINES, 1))


def train(polarities=(1, -1)):
    """Spin-echo EPI, one volume per blip direction: at the echo the phase of the field is zero."""
    return card(
        "epi", (FOV, FOV, PIXEL), (LINES, LINES, 1), suffix="epi",
        timing=Timing(tr=2.0, te=0.05, dummy_shots=0), rf=Rf(flip_deg=90.0),
        readout=Readout(bandwidth=2000.0, oversampling=1), selection=slices(PIXEL),
        epi=Epi(
            spin_echo=True, ramp_sampling=False, navigator=False, volumes=len(polarities),
            phase_polarity=polarities,
        ),
    )  # fmt: skip


def clouds(places, sigma):
    """Clouds at places along y; the slice sees them uniform."""
    axes = (axis(16, 2e-3), axis(64, 1.6e-3), axis(8, 1e-3))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    along = sum(cloud(y, place, sigma) for place in places)
    return body({"water": cloud(x, 0.0, 4e-3) * along * np.ones_like(z)}, axes, water={"t1": 0.2, "t2": 0.1})


def profiles(session, phantom):
    """Coordinates [m] and magnitudes (y, volume) through the middle, interpolated; definitions; sidecar."""
    done = scan(train(), phantom, options=WITH_FIELD, session=session)
    image = done.image(FINE)
    # Interpolated images count in smaller voxels: the times for FSL are those of the plain one.
    sidecar = done.image().meta["sidecar"]
    return coordinate(image, 1), image.data[LINES // 2, :, 0], done.sequence.definitions, sidecar


def measure_shift(offsets):
    """Rows (df [Hz], polarity, found shift, expected shift [px], df times FSL's total readout time)."""
    phantom, rows = clouds([2.5e-3], 6e-3), []
    for df in offsets:
        y, data, definitions, sidecar = profiles(Session(frequency_offset=df), phantom)
        assert sidecar["TotalReadoutTime"] == pytest.approx(definitions["TotalReadoutTime"])
        for volume, sign in enumerate((1, -1)):
            found = (centroid(data[:, volume], y, 0.02) - 2.5e-3) / PIXEL
            expected = sign * df * definitions["EffectiveEchoSpacing"] * LINES
            rows.append((df, sign, found, expected, sign * df * sidecar["TotalReadoutTime"]))
    return np.array(rows)


def measure_pile_up(gradients):
    """Rows (s, distance, width and peak over those without a field); two clouds, field g y [Hz/m]."""
    phantom, places, rows = clouds([-0.024, 0.024], 6e-3), (-0.024, 0.024), []
    plain = None
    for g in (0.0, *gradients):
        y, data, definitions, _ = profiles(Session(shim_error=(0.0, 0.1 * g, 0.0)), phantom)
        for volume, sign in enumerate((1, -1)):
            s = sign * g * definitions["EffectiveEchoSpacing"] * FOV
            sides = [np.where(y < 0, data[:, volume], 0), np.where(y > 0, data[:, volume], 0)]
            middle = [centroid(side, y, 0.022 * (1 + s)) for side in sides]
            near = np.abs(y - middle[1]) < 0.022 * (1 + s)
            width = np.sqrt((sides[1] * (y - middle[1]) ** 2)[near].sum() / sides[1][near].sum())
            found = np.array([middle[1] - middle[0], width, sides[1].max(), sides[1][near].sum()])
            plain = found if plain is None else plain
            rows.append((s, *(found / plain)))
    assert plain is not None
    assert abs(plain[0] - (places[1] - places[0])) < 1e-4
    return np.array(rows)


def test_shift_of_a_uniform_offset():
    """Within 1/100 voxel: clouds of 1.5 voxels are band-limited to 1e-5, compression leaves 1e-4."""
    rows = measure_shift([60.0])
    for df, sign, found, expected, fsl in rows:
        print(f"EPI {df:+.0f} Hz, blips {sign:+.0f}: {found:+.4f} px, df t N {expected:+.4f}, FSL {fsl:+.4f}")
    np.testing.assert_allclose(rows[:, 2], rows[:, 3], atol=0.01)
    np.testing.assert_allclose(rows[:, 4] / rows[:, 3], (LINES - 1) / LINES, rtol=1e-6)


@pytest.mark.slow
def test_shift_over_the_range_of_a_head():
    rows = measure_shift([-120.0, -30.0, 0.0, 90.0])
    np.testing.assert_allclose(rows[:, 2], rows[:, 3], atol=0.01)


def test_pile_up_of_a_linear_field():
    """Distances to 0.1 %, widths and peaks to 1 %: blips one way stretch, the other way compress."""
    rows = measure_pile_up([2500.0])
    for s, distance, width, peak, total in rows:
        print(
            f"1 + s {1 + s:.4f}: distance {distance:.4f} width {width:.4f} 1/peak {1 / peak:.4f} "
            f"sum {total:.4f}"
        )
    assert np.ptp(rows[:, 0]) > 0.3
    np.testing.assert_allclose(rows[:, 1], 1 + rows[:, 0], rtol=1e-3)
    np.testing.assert_allclose(rows[:, 2], 1 + rows[:, 0], rtol=0.01)
    np.testing.assert_allclose(1 / rows[:, 3], 1 + rows[:, 0], rtol=0.01)
    np.testing.assert_allclose(rows[:, 4], 1.0, rtol=0.01)
