"""Dropout of a gradient echo: a field gradient through the slice.

Spins of a box-shaped slice of thickness dz in a field g z [Hz] have phases 2 pi g z TE: the signal is
dz sinc(g dz TE), zero at g = 1 / (dz TE), times exp(-TE / T2*). While it selects, g adds to the slice
gradient G, so that dz is the nominal thickness times G / (G + g). At small angles a slice's profile is the
transform of its pulse: a Hamming-windowed sinc of time-bandwidth product 4 leaves the same sinc times
.54 + .46 cos(2 pi p / 4), p = g dz TE, and nothing beyond the pulse's end, p = 2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsim.simulation import Session
from protocols.cards.settings import Readout, Rf, Timing

from .bench import WITH_FIELD, axis, body, card, cloud, scan, slice_gradient, slices

THICKNESS, TE, T2, T2_PRIME = 5e-3, 0.02, 0.06, 0.08
SINC_WIDTH = 0.9979
"""Width of a Hamming-windowed sinc of time-bandwidth product 4 at small angles, over its nominal one."""
BOX, SHAPED = replace(WITH_FIELD, slice_profile=False), WITH_FIELD


def windowed(p):
    """What the pulse's window makes of the sinc at p = g dz TE cycles; at 2 the pulse ends."""
    return np.where(np.abs(p) < 2, 0.54 + 0.46 * np.cos(0.5 * np.pi * np.asarray(p)), 0.0)


def signal(g, *, te=TE, options=BOX):
    """Largest magnitude of the image of a cloud in a slice, field g [Hz/m] across it; the sequence."""
    axes = (axis(12, 4e-3), axis(12, 4e-3), axis(900, 2e-5))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    maps = {"water": cloud(x, 0.0, 8e-3) * cloud(y, 0.0, 8e-3) * np.ones_like(z)}
    phantom = body(maps, axes, water={"t1": 0.2, "t2": T2, "t2_prime": T2_PRIME})
    protocol = card(
        "gre", (0.096, 0.096, THICKNESS), (16, 16, 1), selection=slices(THICKNESS),
        timing=Timing(tr=1.0, te=te, dummy_shots=0), rf=Rf(flip_deg=5.0, spoiler_cycles=4.0),
        readout=Readout(bandwidth=1000.0),
    )  # fmt: skip
    done = scan(protocol, phantom, options=options, session=Session(shim_error=(0.0, 0.0, 0.1 * g)))
    return float(done.image().data.max()), done.sequence


def measure_dropout(products, *, te=TE, options=BOX):
    """Rows (g dz TE, signal over that without a field gradient, closed form)."""
    plain, sequence = signal(0.0, te=te, options=options)
    shaped = options.slice_profile
    nominal = THICKNESS if shaped else SINC_WIDTH * THICKNESS
    played, slope = sequence.definitions["TE"], slice_gradient(sequence)
    rows = []
    for p in products:
        g = p / (nominal * played)
        found = signal(g, te=te, options=options)[0]
        share = slope / (slope + g)
        window = windowed(p * share) if shaped else 1.0
        rows.append((p * share, found / plain, share * window * abs(np.sinc(p * share))))
    return np.array(rows)


def test_dropout_is_a_sinc():
    """To 0.5 %: the box is one of whole voxels of 0.02 mm, its edges half maxima between profile nodes."""
    rows = measure_dropout([0.5, 1.0])
    for p, found, expected in rows:
        print(f"g dz TE = {p:.3f}: {found:.5f} ({expected:.5f})")
    np.testing.assert_allclose(rows[:, 1], rows[:, 2], atol=5e-3)


def test_dropout_of_a_windowed_sinc():
    """To 0.5 %: 5 degrees are not infinitely small, the pulse has steps."""
    rows = measure_dropout([0.6, 1.4], options=SHAPED)
    for p, found, expected in rows:
        print(f"windowed sinc, g dz TE = {p:.3f}: {found:.5f} ({expected:.5f})")
    np.testing.assert_allclose(rows[:, 1], rows[:, 2], atol=5e-3)


def test_t2_star_multiplies_it():
    short, long = signal(100.0, te=0.01), signal(50.0, te=0.02)
    rate, later = 1 / T2 + 1 / T2_PRIME, long[1].definitions["TE"] - short[1].definitions["TE"]
    # Same g dz TE; T2' and T2 act over the 10 ms between the echoes.
    assert long[0] / short[0] == pytest.approx(np.exp(-later * rate), rel=2e-3)


@pytest.mark.slow
def test_dropout_over_two_lobes():
    rows = measure_dropout([0.25, 0.75, 1.25, 1.5, 1.75])
    np.testing.assert_allclose(rows[:, 1], rows[:, 2], atol=5e-3)
