from __future__ import annotations

import numpy as np
import pytest

from phantoms import (
    Compartment,
    DiffusionModel,
    PhantomError,
    TensorCompartment,
    ball,
    diffusion_truth,
    head_diffusion,
    stick,
    zeppelin,
)
from phantoms.anatomy.fibres import white_matter
from phantoms.diffusion_maps import fractional_anisotropy, mean_diffusivity

from .diffusion_models import DP, D, crossing, linear, phantom, sphere, unit


def eigen(values, axes):
    return TensorCompartment.from_eigenvalues(fraction=1.0, eigenvalues=values, axes=axes)


def test_isotropic_b_tensor_sees_no_direction():
    """b = (tr b / 3) I gives exp(-tr b MD) of each compartment, whatever its axis."""
    m = crossing()
    cells = np.arange(24)
    b = 2e9
    got = m.attenuation("wm", np.eye(3)[None] * b / 3, cells)[0]
    wanted = 0.5 * np.exp(-b * D / 3) + 0.3 * np.exp(-b * (D + 2 * DP) / 3) + 0.2 * np.exp(-b * 3e-9)
    # Directions are float32.
    assert got == pytest.approx(wanted, rel=1e-6)


def test_stick_along_and_across():
    m = DiffusionModel(
        tissues={"wm": (stick(fraction=1.0, diffusivity=D),)},
        directions=np.array([0, 0.6, 0.8]).reshape(1, 1, 1, 1, 3), affine=np.eye(4),
    )  # fmt: skip
    b = linear(1e9, np.array([[0, 0.6, 0.8], [1, 0, 0], [0, 0.8, -0.6], [0, 1, 0]]))
    got = m.attenuation("wm", b, np.zeros(1, int))[:, 0]
    assert got == pytest.approx([np.exp(-1e9 * D), 1, 1, np.exp(-1e9 * D * 0.36)], rel=1e-6)


@pytest.mark.parametrize("b", [0.7e9, 3e9])
def test_powder_average_of_a_stick(b):
    """Mean over all directions of exp(-b d cos^2) = sqrt(pi) / 2 erf(x) / x with x^2 = b d."""
    from scipy.special import erf

    m = crossing(compartments=(stick(fraction=1.0, diffusivity=D),))
    weights = m.weights.reshape(2, -1).sum(axis=0)
    got = m.attenuation("wm", linear(b, sphere(4000)), np.arange(24)).mean(axis=0)
    x = np.sqrt(b * D)
    wanted = weights * np.sqrt(np.pi) / 2 * erf(x) / x + (1 - weights) * np.exp(-b * D / 3)
    # Quadrature error of 4000 points on a smooth function.
    assert got == pytest.approx(wanted, rel=1e-4)


# S/S0 of two zeppelins (lambda 1.7 and 0.3e-9; 60 % along (1, 0, 0), 40 % at theta 60, phi 25 degrees) by
# dipy.sims.voxel.multi_tensor, dipy 1.12.1, at b = 2000 s/mm^2 along directions of GOLDEN_G.
GOLDEN_G = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -1, 1], [-0.3, 0.5, 0.8]])
GOLDEN_S = np.array(
    [0.0591401953620008, 0.48015290798407506, 0.43829969887002085, 0.11556889441298279, 0.22931226142296166,
     0.41008244659249005]
)  # fmt: skip


def test_two_fibres_against_dipy():
    theta, phi = np.deg2rad(60), np.deg2rad(25)
    second = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    m = DiffusionModel(
        tissues={"wm": (zeppelin(fraction=1.0, d_parallel=1.7e-9, d_perpendicular=0.3e-9),)},
        directions=np.array([[1, 0, 0], second]).reshape(2, 1, 1, 1, 3),
        weights=np.array([0.6, 0.4]).reshape(2, 1, 1, 1), affine=np.eye(4),
    )  # fmt: skip
    got = m.attenuation("wm", linear(2e9, GOLDEN_G), np.zeros(1, int))[:, 0]
    # Directions and weights are float32.
    assert got == pytest.approx(GOLDEN_S, rel=1e-6)


def test_tensor_is_the_slope_at_zero():
    """-dS/db along any b-tensor is b : D."""
    m = crossing()
    cells = np.array([0, 7, 23])
    b = np.random.default_rng(0).normal(size=(5, 3, 3))
    b = np.einsum("nij,nkj->nik", b, b)
    slope = (1.0 - m.attenuation("wm", b * 1e3, cells)) / 1e3
    wanted = np.einsum("nij,mij->nm", b, m.tensor("wm", cells))
    # Second order in b D = 1e-5.
    assert slope == pytest.approx(wanted, rel=1e-4)


def test_zeppelin_has_the_closed_anisotropy():
    """FA = (a - c) / sqrt(a^2 + 2 c^2), MD = (a + 2 c) / 3."""
    m = DiffusionModel(
        tissues={"wm": (zeppelin(fraction=1.0, d_parallel=D, d_perpendicular=DP),)},
        directions=unit(np.array([1.0, -2, 3])).reshape(1, 1, 1, 1, 3), affine=np.eye(4),
    )  # fmt: skip
    d = m.tensor("wm", np.zeros(1, int))
    assert fractional_anisotropy(d) == pytest.approx((D - DP) / np.sqrt(D**2 + 2 * DP**2), rel=1e-6)
    assert mean_diffusivity(d) == pytest.approx((D + 2 * DP) / 3, rel=1e-6)
    assert fractional_anisotropy(np.zeros((2, 3, 3))).tolist() == [0, 0]


def test_tensor_compartments():
    """Constant and mapped tensors from eigenvalues, next to a fibre compartment."""
    from scipy.spatial.transform import Rotation

    axes = Rotation.from_rotvec([[0.3, -1, 0.5], [1, 2, 0.1]]).as_matrix().reshape(1, 2, 1, 3, 3)
    values = np.array([1.5e-9, 0.6e-9, 0.2e-9])
    mapped = TensorCompartment.from_eigenvalues(fraction=0.25, eigenvalues=values, axes=axes)
    constant = TensorCompartment(fraction=0.75, tensor=np.diag(values))
    m = DiffusionModel(tissues={"wm": (mapped, constant)}, affine=np.eye(4))
    b = linear(1e9, axes[0, :, 0, :, 0])
    got = m.attenuation("wm", b, np.array([0, 1]))
    along = np.einsum("ni,i->n", axes[0, :, 0, :, 0] ** 2, values)
    assert np.diag(got) == pytest.approx(0.25 * np.exp(-1.5) + 0.75 * np.exp(-1e9 * along), rel=1e-12)
    assert mean_diffusivity(m.tensor("wm", np.array([0, 1]))) == pytest.approx(values.mean(), rel=1e-12)


def test_points_find_their_cells_and_the_outside_its_nearest():
    m = crossing()
    index = np.indices(m.shape).reshape(3, -1).T
    points = index @ m.affine[:3, :3].T + m.affine[:3, 3]
    assert m.cells(points + 0.4e-3).tolist() == list(range(24))
    far = np.array([[-1, -1, -1], [1, 1, 1.0]])
    assert m.cells(far).tolist() == [0, 23]


def test_truth_of_partial_volumes():
    """A voxel's tensor is the mean by proton density; its fibre weights are the oriented tissue's share."""
    m = crossing()
    p = phantom(m)
    truth = diffusion_truth(p)
    wm, gm = p.properties(3.0)
    points = np.indices(p.shape).reshape(3, -1).T * np.diag(p.affine)[:3]
    cells = m.cells(points)
    a, c = 0.6 * wm.pd, 0.3 * gm.pd
    wanted = (a * m.tensor("wm", cells) + c * gm.adc * np.eye(3)) / (a + c)
    assert truth.tensor.reshape(-1, 3, 3) == pytest.approx(wanted, rel=1e-5, abs=1e-15)
    assert truth.weights.reshape(2, -1) == pytest.approx(m.fibres(cells)[1] * a / (a + c), rel=1e-5)
    assert truth.directions.shape == (2, 3, 4, 2, 3)
    equal = diffusion_truth(p, weight=[0.0, 1.0])
    assert equal.mean_diffusivity == pytest.approx(gm.adc, rel=1e-6)
    assert diffusion_truth(phantom()).weights.shape == (0, 3, 4, 2)


def test_truth_points_along_the_fibre():
    m = DiffusionModel(
        tissues={"wm": white_matter()},
        directions=np.broadcast_to(unit([1.0, 2, -2]), (1, 3, 4, 2, 3)), affine=phantom().affine,
    )  # fmt: skip
    truth = diffusion_truth(phantom(m), weight=[1.0, 0.0])
    assert np.abs(truth.principal_direction @ unit([1.0, 2, -2])) == pytest.approx(1.0, abs=1e-6)
    # Axons 0.6: along 1.7, across 0.4 * 0.4 * 1.7.
    assert truth.fractional_anisotropy == pytest.approx((1 - 0.16) / np.sqrt(1 + 2 * 0.16**2), abs=1e-5)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: stick(fraction=1.2, diffusivity=D), r"fraction must lie in 0..1"),
        (lambda: ball(fraction=0.5, diffusivity=3e-3), "1e-3 mm"),
        (lambda: ball(fraction=0.5, diffusivity=np.nan), "d_parallel must lie"),
        (lambda: Compartment(fraction=np.ones(3), d_parallel=D, d_perpendicular=D), "number or a map"),
        (lambda: TensorCompartment(fraction=1.0, tensor=np.diag([1, 1, -1]) * 1e-9), "negative eigenvalue"),
        (lambda: TensorCompartment(fraction=1.0, tensor=np.eye(3)), "symmetric with entries"),
        (lambda: TensorCompartment(fraction=1.0, tensor=np.eye(2)), "must be finite"),
        (
            lambda: eigen([1e-9] * 3, np.ones((3, 3))),
            "orthonormal",
        ),
        (lambda: eigen([1e-9], np.eye(3)), "eigenvalues"),
        (lambda: DiffusionModel(tissues={"wm": ()}), "one or more compartments"),
        (lambda: model(fraction=0.9), "must add up to 1"),
        (
            lambda: DiffusionModel(tissues={"wm": (stick(fraction=1.0, diffusivity=D),)}),
            "must have directions",
        ),
        (lambda: model(directions=np.ones((1, 2, 2, 2, 3))), "unit vectors"),
        (lambda: model(directions=np.ones((4, 2, 2, 2, 3))), "1..3 fibres"),
        (lambda: model(n=2), "weights must be given"),
        (lambda: model(n=2, weights=np.full((2, 2, 3, 2), 0.6)), "sum to at most 1"),
        (lambda: model(weights=np.full((1, 2, 3, 3), 0.6)), "weights must be finite"),
        (lambda: model(affine=None), "affine must be given"),
        (lambda: model(affine=np.zeros((4, 4))), "affine must be finite"),
        (lambda: model(affine=np.diag([0.0, 1, 1, 1])), "invertible"),
        (lambda: DiffusionModel(tissues={}, weights=np.ones((1, 1, 1, 1))), "must come with directions"),
        (lambda: model(fraction=np.ones((3, 3, 3))), "one grid"),
        (lambda: phantom(model(tissue="csf")), "must name tissues of the phantom"),
        (lambda: phantom("fibres"), "must be a DiffusionModel"),
        (lambda: crossing().tensor("gm", np.zeros(1, int)), "tissue must be one of"),
        (lambda: crossing().attenuation("wm", np.eye(3), np.zeros(1, int)), r"shape \(n, 3, 3\)"),
        (lambda: diffusion_truth(phantom(), weight=[1.0]), "weight must be finite"),
        (lambda: head_diffusion(phantom()), "tissues of the packaged head"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(build, text):
    with pytest.raises(PhantomError, match=text):
        build()


def model(*, n=1, tissue="wm", fraction=1.0, directions=None, weights=None, affine=np.eye(4)):  # noqa: B008
    directions = np.broadcast_to([0, 0, 1.0], (n, 2, 3, 2, 3)) if directions is None else directions
    tissues = {tissue: (stick(fraction=fraction, diffusivity=D),)}
    return DiffusionModel(tissues=tissues, directions=directions, weights=weights, affine=affine)
