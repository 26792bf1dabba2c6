import numpy as np
import pytest
from scipy import ndimage
from scipy.integrate import solve_ivp

from phantoms.cohorts.deformation import (
    Grid,
    exponential,
    jacobian,
    lowest_jacobian,
    potential_velocity,
    pull,
    random_velocity,
)

GRID = Grid(origin=(-0.06, -0.07, -0.05), spacing=3e-3, shape=(41, 47, 35))


def random_field(seed=1, sigma=1.5e-3):
    return random_velocity(GRID, np.random.default_rng(seed), sigma=sigma)


def test_exponential_equals_an_adaptive_ode_solution():
    v = random_field()
    u = exponential(v, GRID.spacing)
    nodes = np.array([[20, 23, 17], [12, 30, 20], [28, 15, 10]])

    def rate(_t, y):
        at = y.reshape(-1, 3).T / GRID.spacing
        return np.stack([ndimage.map_coordinates(c, at, order=1) for c in v]).T.ravel()

    start = nodes * GRID.spacing
    end = solve_ivp(rate, (0, 1), start.ravel(), rtol=1e-8, atol=1e-10).y[:, -1].reshape(-1, 3)
    got = u[:, nodes[:, 0], nodes[:, 1], nodes[:, 2]].T
    # Repeated trilinear interpolation in the squarings costs a few micrometres on displacements of 2 mm.
    assert np.abs(got - (end - start)).max() < 3e-5
    assert np.abs(got).max() > 5e-4


def test_exponential_is_inverted_by_the_negative_field():
    v = random_field(2)
    forth, back = exponential(v, GRID.spacing), exponential(-v, GRID.spacing)
    rest = (forth + pull(back, forth, GRID.spacing))[:, 4:-4, 4:-4, 4:-4]
    # Trilinear interpolation on 3 mm nodes: 6 % of a node, where the field turns most.
    assert np.abs(rest).max() < 1.8e-4
    assert np.abs(rest).mean() < 2e-5


@pytest.mark.parametrize("seed", range(4))
def test_random_fields_do_not_fold(seed):
    u = exponential(random_field(seed), GRID.spacing)
    assert lowest_jacobian(u, GRID.spacing) > 0.3
    assert np.sqrt((u**2).sum(axis=0)).max() < 0.012


def test_random_field_has_the_requested_strength():
    big = Grid(origin=(0, 0, 0), spacing=5e-3, shape=(80, 70, 60))
    v = random_velocity(big, np.random.default_rng(0), sigma=1.5e-3)
    # Cubic B-splines through unit noise: variance between nodes falls to about 0.4-0.75 in total.
    assert 0.5 < v.std() / 1.5e-3 < 1.0


def test_jacobian_of_a_linear_map_is_its_determinant():
    m = np.array([[1.1, 0.05, 0.0], [0.02, 0.9, 0.1], [-0.03, 0.0, 1.2]])
    x = np.stack(np.meshgrid(*[np.arange(n) * 2e-3 for n in (7, 8, 9)], indexing="ij"))
    u = (np.einsum("ab,bijk->aijk", m, x) - x).astype(np.float32)
    want = np.linalg.det(m)
    assert jacobian(u, 2e-3) == pytest.approx(want, abs=1e-5)  # float32 differences
    assert lowest_jacobian(u, 2e-3) == pytest.approx(want, abs=1e-5)


def test_lowest_jacobian_sees_a_fold():
    u = np.zeros((3, 9, 8, 7), np.float32)
    u[0, 4] = -2.5e-3  # one plane pushed through its neighbour
    assert lowest_jacobian(u, 2e-3) < 0


def test_potential_velocity_has_the_divergence_and_no_rotation():
    x = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in GRID.shape], indexing="ij"))
    blob = np.exp(-0.5 * (x**2).sum(axis=0) / 3.0**2).astype(np.float32)
    blob -= blob.mean()
    v = potential_velocity(blob, GRID.spacing)
    g = [[np.gradient(v[m], GRID.spacing, axis=a) for a in range(3)] for m in range(3)]
    inner = (slice(3, -3),) * 3
    div = (g[0][0] + g[1][1] + g[2][2])[inner]
    # The solved operator is halfway between the wide and the narrow Laplacian: 5 % on a blob 3 nodes wide.
    assert np.abs(div - blob[inner]).max() < 0.06 * blob.max()
    assert np.abs((g[0][1] - g[1][0])[inner]).max() < 1e-3 * blob.max()


def test_grid_covers_the_volume():
    affine = np.diag([1e-3, 2e-3, 3e-3, 1.0])
    affine[:3, 3] = (-0.01, 0.0, 0.02)
    g = Grid.covering(affine, (10, 11, 12), 3e-3, 6e-3)
    low, high = np.asarray(g.origin), np.asarray(g.origin) + (np.asarray(g.shape) - 1) * g.spacing
    assert (low <= affine[:3, 3] - 0.5 * np.diag(affine)[:3]).all()
    assert (high >= affine[:3, 3] + (np.array([10, 11, 12]) - 0.5) * np.diag(affine)[:3]).all()
