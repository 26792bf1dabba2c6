"""Attenuation of placed phantoms against closed forms, tensor fits, random walks and the exact engine."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mrsim.simulation.bloch import BlochOptions, simulate_bloch
from mrsim.simulation.diffusion import PlacedDiffusion, distinct_tensors
from mrsim.simulation.gradient_fields import PolynomialField
from mrsim.simulation.placement import Pose, place
from mrsim.simulation.scanned import merge_alike
from phantoms import DiffusionModel, Phantom, TensorCompartment, ball, diffusion_truth, stick, zeppelin
from phantoms.diffusion_maps import fractional_anisotropy, mean_diffusivity
from protocols import GAMMA_BAR, Prescription
from protocols.btensor import b_tensors

from .bloch.sequences import Score, hard, heard, knots, sample, spins

D, DP = 1.7e-9, 0.4e-9
AFFINE = np.array([[2e-3, 0, 0, -5e-3], [0, 3e-3, 0, -6e-3], [0, 0, 4e-3, -3e-3], [0, 0, 0, 1.0]])
SHAPE = (6, 5, 4)
MIX = (
    stick(fraction=0.5, diffusivity=D),
    zeppelin(fraction=0.3, d_parallel=D, d_perpendicular=DP),
    ball(fraction=0.2, diffusivity=3e-9),
)


def unit(v):
    return np.asarray(v, float) / np.linalg.norm(v, axis=-1, keepdims=True)


def sphere(n):
    """Fibonacci points (n, 3)."""
    i = np.arange(n) + 0.5
    z, phi = 1.0 - 2.0 * i / n, np.pi * (1.0 + 5.0**0.5) * i
    r = np.sqrt(1.0 - z**2)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)


def linear(b, g):
    g = unit(g)
    return b * g[..., :, None] * g[..., None, :]


def model(compartments=MIX, fibres=2, shape=SHAPE):
    rng = np.random.default_rng(4)
    return DiffusionModel(
        tissues={"wm": compartments}, directions=unit(rng.normal(size=(fibres, *shape, 3))),
        weights=rng.uniform(0.2, 0.9, (fibres, *shape)) / fibres, affine=AFFINE,
    )  # fmt: skip


def phantom(diffusion, shape=SHAPE):
    f = np.zeros((2, *shape), np.float32)
    f[0], f[1] = 0.7, 0.3
    return Phantom(name="p", tissues=("wm", "csf"), fractions=f, affine=AFFINE, diffusion=diffusion)


def prescription(rotation=None, center=(0.0, 0.0, 0.0)):
    axes = np.eye(3) if rotation is None else rotation
    return Prescription(
        read_dir=axes[:, 0], phase_dir=axes[:, 1], slice_dir=axes[:, 2], center=np.asarray(center, float)
    )


def placed(p, pose=None, view=None, field=None):
    pose = pose or Pose.identity()
    there = place(p, view or prescription(), pose)
    return PlacedDiffusion.of(p, p.properties(3.0), there, pose, field=field)


def every(d):
    return np.arange(np.prod(d.placed.grid.array_shape))


def head_points(d, pose):
    """Phantom coordinates of all voxels, by way of the world."""
    grid = d.placed.grid
    world = d.placed.coordinates((grid.axis(0), grid.axis(1), grid.axis(2))).reshape(-1, 3)
    return (world - pose.pivot - pose.translation) @ pose.rotation + pose.pivot


OBLIQUE = Rotation.from_rotvec([0.4, -0.3, 0.8]).as_matrix()
TURN = Pose(
    rotation=Rotation.from_rotvec([-0.2, 0.5, 0.3]).as_matrix(), translation=np.array([4e-3, -1e-3, 2e-3]),
    pivot=np.array([1e-3, 2e-3, -3e-3]),
)  # fmt: skip


@pytest.mark.parametrize("kind", ["mixed", "tensor", "mapped"])
def test_every_voxel_of_an_oblique_scan_of_a_turned_head(kind):
    """The compiled factors equal the plain law at each voxel's place, fibres turned into logical axes."""
    if kind == "tensor":
        axes = Rotation.random(120, random_state=1).as_matrix().reshape(*SHAPE, 3, 3)
        one = TensorCompartment.from_eigenvalues(fraction=0.6, eigenvalues=[2e-9, 1e-9, 3e-10], axes=axes)
        m = DiffusionModel(tissues={"wm": (one, ball(fraction=0.4, diffusivity=D))}, affine=AFFINE)
    elif kind == "mapped":
        f = np.random.default_rng(2).uniform(0.2, 0.8, SHAPE).astype(np.float32)
        m = model((stick(fraction=f, diffusivity=2 * D * f), ball(fraction=1 - f, diffusivity=D)))
    else:
        m = model()
    d = placed(phantom(m), TURN, prescription(OBLIQUE, (1e-3, -2e-3, 3e-3)))
    b = linear(np.array([1e9, 2e9, 0.3e9])[:, None, None], sphere(3))
    b[2] += np.diag([1e8, 3e8, 2e8])
    where = np.random.default_rng(0).permutation(every(d))[:200]
    cells = m.cells(head_points(d, TURN)[where])
    # Logical axes are the columns of OBLIQUE; b in the head's axes.
    to_head = TURN.rotation.T @ OBLIQUE
    wanted = m.attenuation("wm", to_head @ b @ to_head.T, cells)
    got = d.at(0, where).factors(b)
    # Factors are single precision; a sum of weights below 1e-6 from 1 counts as 1.
    assert got == pytest.approx(wanted, rel=2e-6)
    assert got.std(axis=1).min() > 1e-3


def test_directions_follow_the_head():
    """A gradient turned with the head gives the same factors as the unturned one in the unturned head."""
    m, b = model(), linear(1.5e9, sphere(5))
    still, moved = placed(phantom(m)), placed(phantom(m), TURN, prescription(TURN.rotation, TURN.translation
        + TURN.pivot - TURN.rotation @ TURN.pivot))  # fmt: skip
    # The field of view turned along: the very same scan.
    assert moved.at(0, every(moved)).factors(b) == pytest.approx(
        still.at(0, every(still)).factors(b), abs=1e-6
    )
    # The head alone, in the voxels where it was: the b-tensor must be turned back.
    further = still.turned(TURN.rotation)
    turned = TURN.rotation @ b @ TURN.rotation.T
    assert further.at(0, every(still)).factors(turned) == pytest.approx(
        still.at(0, every(still)).factors(b), abs=1e-6
    )
    assert np.abs(further.at(0, every(still)).factors(b) - still.at(0, every(still)).factors(b)).max() > 0.05


def test_tensor_fit_finds_the_truth():
    """Log-linear least squares on 30 directions and b = 0: FA, MD and direction to 1e-6."""
    m = model((zeppelin(fraction=1.0, d_parallel=D, d_perpendicular=DP),), fibres=1)
    m = DiffusionModel(tissues=m.tissues, directions=m.directions, affine=AFFINE)
    p = phantom(m)
    d = placed(p, TURN, prescription(OBLIQUE))
    b = np.concatenate([np.zeros((1, 3, 3)), linear(1e9, sphere(60)[:30])])
    where = every(d)
    s = d.at(0, where).factors(b).astype(float)
    design = np.stack(
        [*(b[:, i, i] for i in range(3)), *(2 * b[:, i, j] for i, j in ((0, 1), (0, 2), (1, 2)))], 1
    )
    x = -np.linalg.lstsq(np.column_stack([design * 1e-9, np.ones(31)]), np.log(s), rcond=None)[0][:6] * 1e-9
    fit = np.empty((where.size, 3, 3))
    for k, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        fit[:, i, j] = fit[:, j, i] = x[k]
    # Single precision of the factors, amplified by the fit.
    assert mean_diffusivity(fit) == pytest.approx((D + 2 * DP) / 3, rel=1e-6)
    assert fractional_anisotropy(fit) == pytest.approx((D - DP) / np.sqrt(D**2 + 2 * DP**2), rel=1e-6)
    first = np.linalg.eigh(fit)[1][..., -1] @ (TURN.rotation.T @ OBLIQUE).T
    true = m.fibres(m.cells(head_points(d, TURN)))[0][0]
    assert np.linalg.norm(np.cross(first, true), axis=1).max() < 1e-6
    truth = diffusion_truth(p, weight=[1.0, 0.0])
    assert truth.mean_diffusivity == pytest.approx((D + 2 * DP) / 3, rel=1e-6)


def test_powder_average_of_sticks():
    """sqrt(pi) / 2 erf(x) / x with x^2 = b d, whatever the directions of single fibres."""
    from scipy.special import erf

    m = model((stick(fraction=1.0, diffusivity=D),), fibres=1)
    m = DiffusionModel(tissues=m.tissues, directions=m.directions, affine=AFFINE)
    d = placed(phantom(m), TURN)
    for b in (1e9, 3e9):
        x = np.sqrt(b * D)
        mean = d.at(0, every(d)).factors(linear(b, sphere(3000))).mean(axis=0, dtype=float)
        # Quadrature of 3000 points.
        assert mean == pytest.approx(np.sqrt(np.pi) / 2 * erf(x) / x, rel=2e-4)


def test_isotropic_tissues_and_constants_have_one_factor():
    d = placed(phantom(model()))
    b = linear(np.array([1e9, 2e9])[:, None, None], sphere(2))
    free = d.at(1, every(d))
    assert free.uniform
    assert free.factors(b) == pytest.approx(np.exp(-np.array([[1.0], [2.0]]) * 1e9 * d.adc[1]), rel=1e-6)
    alone = DiffusionModel(
        tissues={"wm": (ball(fraction=0.5, diffusivity=D), ball(fraction=0.5, diffusivity=0.0))}
    )
    e = placed(phantom(alone))
    assert e.at(0, every(e)).factors(b).shape == (2, 1)
    assert placed(phantom(None)).at(0, np.zeros(0, int)).factors(b).shape == (2, 1)
    assert not d.at(0, every(d)).uniform
    assert d.at(0, np.zeros(0, int)).factors(b).shape == (2, 0)


# Coils with terms of second and third order, some of them crosswise [1/m, 1/m^2].
FIELD = PolynomialField(
    terms=(
        ((1.0, (1, 0, 0)), (3.0, (1, 1, 0)), (0.02, (0, 1, 0)), (200.0, (1, 0, 2))),
        ((1.0, (0, 1, 0)), (-2.0, (0, 0, 2)), (150.0, (2, 1, 0))),
        ((0.98, (0, 0, 1)), (4.0, (1, 0, 1))),
    )
)


def test_nonlinear_gradients_change_b_from_place_to_place():
    """The gradient of the field that is really made, G_i = d/dr_i sum_c g_c F_c, weights every voxel."""
    m = model()
    view = prescription(OBLIQUE, (20e-3, -30e-3, 25e-3))
    pose = Pose(rotation=TURN.rotation, translation=np.array([0.06, -0.05, 0.07]), pivot=TURN.pivot)
    d = placed(phantom(m), pose, view, FIELD)
    grid = d.placed.grid
    points = d.placed.coordinates((grid.axis(0), grid.axis(1), grid.axis(2))).reshape(-1, 3)
    where = every(d)[::7]
    g = unit(np.array([1.0, -0.4, 0.7]))
    got = d.at(0, where).factors(linear(1e9, g)[None])[0]
    csf = d.at(1, where)
    assert not csf.uniform
    step = 1e-4
    for v, r in zip(where, points[where], strict=True):
        shifted = np.concatenate([r + step * np.eye(3), r - step * np.eye(3)])
        played = FIELD.field(shifted) @ (OBLIQUE @ g)
        real = (played[:3] - played[3:]) / (2 * step)
        inside = pose.rotation.T @ real
        b = 1e9 * np.outer(inside, inside)
        wanted = m.attenuation("wm", b[None], m.cells(head_points(d, pose)[[v]]))[0, 0]
        assert got[np.flatnonzero(where == v)[0]] == pytest.approx(wanted, rel=3e-6)
        assert csf.factors(linear(1e9, g)[None])[0, np.flatnonzero(where == v)[0]] == pytest.approx(
            np.exp(-1e9 * real @ real * d.adc[1]), rel=3e-6
        )
    with pytest.raises(ValueError, match="distinct needs linear gradients"):
        csf.distinct(linear(1e9, g)[None])


def test_many_voxels_are_worked_on_in_pieces():
    """More voxels than a chunk, with and without a field: a uniform scale of 1.02 multiplies b by 1.02^2."""
    shape = (45, 41, 43)
    p = Phantom(
        name="many", tissues=("wm",), fractions=np.ones((1, *shape), np.float32),
        affine=np.diag([1e-3] * 3 + [1]), diffusion=model(),
    )  # fmt: skip
    scaled = PolynomialField(terms=tuple(((1.02, tuple(np.eye(3, dtype=int)[a])),) for a in range(3)))
    plain, grown = placed(p), placed(p, field=scaled)
    b = linear(1e9, sphere(2))
    assert every(plain).size > 65536
    whole = plain.at(0, every(plain))
    assert whole.cells.size <= np.prod(SHAPE)
    assert grown.at(0, every(plain)).factors(b) == pytest.approx(whole.factors(1.02**2 * b), rel=1e-5)
    assert np.array_equal(whole.distinct(b)[:, whole.index], whole.factors(b))


def test_merging_tissues_keeps_modelled_ones_apart():
    f = np.full((3, 2, 2, 2), 0.3, np.float32)
    table = phantom(None).table
    curves = {"a": table.curves["wm"], "b": table.curves["wm"], "c": table.curves["wm"]}
    table = type(table)(curves=curves)
    m = DiffusionModel(tissues={"b": (ball(fraction=1.0, diffusivity=D),)})
    p = Phantom(name="p", tissues=("a", "b", "c"), fractions=f, affine=np.diag([1e-3] * 3 + [1]), table=table)
    assert merge_alike(p, 3.0)[0].tissues == ("a",)
    merged, kept, _ = merge_alike(p.replace({"diffusion": m}), 3.0)
    assert merged.tissues == ("a", "b")
    assert len(kept) == 2
    assert merged.diffusion is m


def test_few_tensors_stand_for_many():
    rng = np.random.default_rng(6)
    b = linear(1e9, sphere(3))[rng.integers(0, 3, 500)]
    noise = rng.normal(size=(500, 3, 3)) * 1e5
    b = b + noise + np.swapaxes(noise, 1, 2)
    few, index = distinct_tensors(b, tolerance=0.03)
    assert len(few) < 100
    d = placed(phantom(model()))
    voxels = d.at(0, every(d))
    # Rounding of single precision on top.
    assert np.abs(voxels.factors(few)[index] - voxels.factors(b)).max() < 0.03 + 1e-6
    exact, same = distinct_tensors(np.repeat(linear(1e9, sphere(4)), 3, axis=0))
    assert len(exact) == 4
    assert exact[same] == pytest.approx(np.repeat(linear(1e9, sphere(4)), 3, axis=0), rel=1e-12, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda d: d.at(0, every(d)).factors(np.eye(3)), r"shape \(n, 3, 3\)"),
        (lambda d: d.at(0, every(d)).factors(np.triu(np.ones((1, 3, 3)))), "symmetric"),
        (lambda d: distinct_tensors(np.full((1, 3, 3), np.nan)), "finite"),
        (lambda d: distinct_tensors(np.ones((1, 3, 3)), tolerance=0.0), "tolerance must lie"),
        (
            lambda d: PlacedDiffusion.of(phantom(None), (), d.placed, Pose.identity()),
            "must have the same tissues",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(placed(phantom(model())))


def waves():
    """Spin echo with oblique diffusion lobes and a crusher pair on y and z between them."""
    rise, flat, gap = 5e-4, 9e-3, 8e-3
    g = 40e-3 * GAMMA_BAR
    lobe = np.cumsum([0.0, rise, flat, rise]), np.array([0.0, 1.0, 1.0, 0.0])
    crush = np.cumsum([0.0, rise, gap / 2 - 2 * rise, rise]), np.array([0.0, 1.0, 1.0, 0.0])
    return rise, flat, gap, g, lobe, crush


def spin_echo():
    rise, flat, gap, g, lobe, crush = waves()
    pulse, whole = 1e-9, flat + 2 * rise
    score = Score().add(pulse, rf=hard(90, length=pulse, use="excitation"))
    pair = {"gy": knots(crush[0], 0.1 * g * crush[1]), "gz": knots(crush[0], 0.5 * g * crush[1])}
    first = {"gx": knots(lobe[0], 0.8 * g * lobe[1]), "gy": knots(lobe[0], -0.6 * g * lobe[1])}
    score.add(whole, **first).add(gap / 2, **pair)
    score.add(pulse, rf=hard(180, 90, length=pulse, use="refocusing"))
    score.add(gap / 2, **pair)
    return score.add(whole, **first, adc=sample(whole - 1e-9)).sequence()


def test_isotropic_factors_equal_the_exact_engine():
    """The engine's analytic echo path and its random walk, for the b-tensor of what is played."""
    sequence = spin_echo()
    b = b_tensors(sequence)
    d = placed(phantom(None))
    got = d.at(1, np.zeros(1, int)).factors(b)[0, 0]
    adc = d.adc[1]
    exact = abs(heard(spins(adc=np.array([adc])), sequence, diffusion="attenuation")[0])
    assert got == pytest.approx(exact, rel=1e-6)
    assert 0.1 < got < 0.7
    n = 50_000
    walked = abs(heard(spins(n, adc=np.full(n, adc)), sequence, diffusion="random_walk", seed=2)[0])
    # Standard error of the mean of n cosines, below 1 / sqrt(2 n).
    assert abs(walked - got) < 3 / np.sqrt(2 * n)


def test_apparent_coefficients_take_fibres_to_the_exact_engine():
    """Points with the voxels' coefficients for the tensor played sum to the mean of the factors."""
    sequence = spin_echo()
    b = b_tensors(sequence)
    d = placed(phantom(model()), TURN, prescription(OBLIQUE))
    voxels = d.at(0, every(d)[::9])
    adc = voxels.apparent(b)[0]
    assert np.ptp(adc) > 0.2e-9
    exact = abs(heard(spins(adc.size, adc=adc), sequence, diffusion="attenuation")[0])
    assert exact == pytest.approx(voxels.factors(b).mean(dtype=float), rel=1e-6)
    assert np.isnan(voxels.apparent(np.zeros((1, 3, 3)))).all()


def test_the_exact_engine_does_not_take_fibres_for_isotropic(machine, upright):
    with pytest.raises(ValueError, match="diffusion must be 'none'"):
        simulate_bloch(
            phantom(model()), spin_echo(), machine, upright, rng=np.random.default_rng(0),
            bloch=BlochOptions(diffusion="random_walk"),
        )  # fmt: skip


def test_anisotropic_factors_equal_a_random_walk():
    """Steps with the covariance 2 D dt of each compartment, phases summed along the waveform played."""
    sequence = spin_echo()
    (b,) = b_tensors(sequence)
    m = model()
    d = placed(phantom(m), TURN, prescription(OBLIQUE))
    voxel = every(d)[60:61]
    got = d.at(0, voxel).factors(b[None])[0, 0]
    rise, flat, gap, g, lobe, crush = waves()
    whole, steps, n = flat + 2 * rise, 200, 30_000
    dt = (2 * whole + gap) / steps
    t = (np.arange(steps) + 0.5) * dt
    late = whole + gap
    shape = np.interp(t, *lobe, right=0.0) - np.interp(t - late, *lobe, left=0.0)
    before, after = (np.interp(t - s, *crush, left=0.0, right=0.0) for s in (whole, whole + gap / 2))
    crusher = before - after
    effective = g * np.stack([0.8 * shape, 0.1 * crusher - 0.6 * shape, 0.5 * crusher], axis=1)
    # A step at time t moves the spin for all gradients still to come.
    left = 2 * np.pi * (np.cumsum(effective[::-1], axis=0)[::-1] - 0.5 * effective) * dt
    n_fibres, weights = m.fibres(m.cells(head_points(d, TURN)[voxel]))
    to_logical = OBLIQUE.T @ TURN.rotation
    rng, total = np.random.default_rng(9), 0.0
    for c in MIX:
        kinds = [(w, np.outer(f, f)) for w, f in zip(weights[:, 0], n_fibres[:, 0], strict=True)]
        kinds.append((1 - weights.sum(), np.eye(3) / 3))
        for w, outer in kinds:
            tensor = c.d_perpendicular * np.eye(3) + (c.d_parallel - c.d_perpendicular) * outer
            root = np.linalg.svd(to_logical @ tensor @ to_logical.T)
            half = root[0] * np.sqrt(2 * dt * root[1])
            phase = np.zeros(n)
            for q in left:
                phase += rng.standard_normal((n, 3)) @ (half.T @ q)
            total += c.fraction * w * np.cos(phase).mean()
    # Eight independent means of n cosines and the midpoint rule of 200 steps (1e-4).
    assert abs(total - got) < 3 / np.sqrt(2 * n) + 1e-4
