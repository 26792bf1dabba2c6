"""Weighted sums of transforms by tensor trains against one transform for each term."""

from __future__ import annotations

import numpy as np
import pytest

from mrsim.simulation.kspace.cascade import Terms, build_cascade, lattice_of
from mrsim.simulation.kspace.encode import Grid
from mrsim.simulation.kspace.encoders import NonuniformGroup, TensorGroup, Tracks

GRID = Grid(shape=(18, 15, 11), spacing=(2.1e-3, 3.3e-3, 2.7e-3), first=(-0.019, -0.0241, -0.0142))
READ, PHASE, SLICE = (
    np.linspace(-220.0, 200.0, 33),
    np.linspace(-140.0, 130.0, 19),
    np.linspace(-150, 140, 13),
)
STEP = 1e-3


def noise(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def lines(pairs):
    """Readouts along the read axis at (phase, slice) indices."""
    start = np.array([[0.0, PHASE[p], SLICE[s]] for p, s in pairs])
    course = np.stack([READ, 0 * READ, 0 * READ], axis=1)[None]
    return Tracks(start=start, course=course, of=np.zeros(len(pairs), int))


def terms_of(rng, curves, variant, *, count=7, rank=3):
    """Random mixing of given curves over readouts and smooth ones along them."""
    at = np.linspace(0, 1, 33)
    along = np.stack(
        [np.exp(-(v + 1) * at[:, None] * np.arange(1, rank + 1)) for v in range(variant.max() + 1)]
    )
    return Terms(
        curves=curves.astype(complex), along=along.astype(np.complex64),
        mixing=noise(rng, curves.shape[1], rank, count).astype(complex), variant=variant,
        size=rng.uniform(0.5, 2.0, count), rows=rng.uniform(0.5, 2.0, len(curves)), samples=np.ones(33),
    )  # fmt: skip


def direct(k, terms, images, coils):
    """One NUFFT for each term and coil: another way through the same sum."""
    out = np.zeros((len(k.of), len(coils), 33), np.complex64)
    NonuniformGroup(GRID, k.start[:, None] + k.course[k.of], None, 1e-6).encode(images, terms, coils, out)
    return out


def cases():
    rng = np.random.default_rng(5)
    full = [(p, s) for p in range(19) for s in range(13)]
    p, s = np.array(full).T
    shot = np.stack([np.exp(-s / 5.0), np.cos(s / 3.0), np.ones(len(full))], axis=1)
    yield "history by slice", full, shot, np.zeros(len(full), int)
    yield "echoes on the same lines", full + full, np.vstack([shot, 0.7 * shot]), np.repeat([0, 1], len(full))
    yield "timing by phase", full, shot, p
    yield (
        "a few lines again",
        [*full, *full[40:44]],
        shot[[*range(len(full)), *range(40, 44)]],
        np.append(p, p[40:44]),
    )
    some = [(i, j) for i, j in full if ((i - 9) / 9.5) ** 2 + ((j - 6) / 6.5) ** 2 <= 1 and (i % 2 or j == 6)]
    inside = np.array([full.index(x) for x in some])
    yield "corners and lines missing", some, shot[inside], np.zeros(len(some), int)
    yield "every line its own", full, rng.normal(size=(len(full), 40)), np.zeros(len(full), int)


@pytest.mark.parametrize("case", list(cases()), ids=lambda c: c[0])
def test_the_sum_does_not_depend_on_the_way(case):
    _, pairs, curves, variant = case
    rng = np.random.default_rng(8)
    k, terms = lines(pairs), terms_of(rng, curves, variant)
    images, coils = noise(rng, 7, *GRID.array_shape), list(noise(rng, 2, *GRID.array_shape))
    images *= (terms.size / np.array([np.linalg.norm(i) for i in images]))[:, None, None, None]
    tolerance = 1e-4
    out = np.zeros((len(k.of), 2, 33), np.complex64)
    stated = TensorGroup(GRID, k, np.zeros(len(k.of), int), STEP, tolerance).encode(images, terms, coils, out)
    expected = direct(k, terms, images, coils)
    assert stated <= 0.3 * tolerance  # curves along the readout and the train, a fifth each
    # A fifth of the tolerance, twice; finufft's own 1e-6 and single precision are far below.
    assert np.linalg.norm(out - expected) < 0.4 * tolerance * np.linalg.norm(expected)


def plan(pairs, curves, variant, tolerance=1e-4):
    rng = np.random.default_rng(8)
    terms = terms_of(rng, curves, variant, count=9)
    rows, columns = np.array(pairs).T
    group = TensorGroup(GRID, lines(pairs), np.zeros(len(pairs), int), STEP, tolerance)
    encoder = group._tracks[0].tensor
    lattice = lattice_of(terms, np.arange(len(pairs)), rows, columns, (19, 13), tolerance)
    return build_cascade(lattice, terms.size, encoder, tolerance)


def test_a_history_of_the_shot_is_transformed_once_along_the_other_axis():
    _, pairs, curves, variant = next(cases())
    found = plan(pairs, curves, variant)
    # Three histories by slice, three decays along the readout, nothing along phase.
    assert found.order[2] == 0
    assert found.second.shape[1] == 1
    assert found.first.shape[1] == 3


def test_weights_without_structure_take_a_transform_for_each_term():
    _, pairs, curves, variant = list(cases())[-1]
    assert plan(pairs, curves, variant) is None


def test_the_stated_error_is_that_of_the_weights():
    _, pairs, curves, variant = next(cases())
    rng = np.random.default_rng(1)
    curves = curves + 3e-3 * rng.normal(size=curves.shape)
    found, exact = plan(pairs, curves, variant, 2e-2), plan(pairs, curves, variant, 1e-9)
    assert 1e-4 < found.error < 2e-2
    assert found.first.shape[1] <= 3
    assert exact is None
