import numpy as np
import pytest

from phantoms import Diffeomorphism, PhantomError
from phantoms.cohorts.deformation import Grid, random_velocity

GRID = Grid(origin=(-0.05, -0.07, -0.03), spacing=3e-3, shape=(36, 45, 28))
AFFINE = np.array([[3e-3, 0, 0, -0.05], [0, 3e-3, 0, -0.07], [0, 0, 3e-3, -0.03], [0, 0, 0, 1]])


def made(**changes):
    velocity = random_velocity(GRID, np.random.default_rng(5))
    return Diffeomorphism(**{"velocity": velocity, "affine": AFFINE, "scale": 0.97, **changes})


def inner(count):
    low = np.array(GRID.origin) + 0.015
    high = np.array(GRID.origin) + 3e-3 * (np.array(GRID.shape) - 1) - 0.015
    return np.random.default_rng(2).uniform(low, high, (count, 3))


def test_the_inverse_brings_every_place_back():
    m, points = made(), inner(400) * 0.97
    moved = np.linalg.norm(m.to_template(points) - points / 0.97, axis=1)
    assert moved.max() > 2e-3
    # Trilinear between nodes 3 mm apart, of structures of 25 mm: a twentieth of a millimetre.
    assert m.residual(points).max() < 1e-4


def test_it_is_the_flow_of_its_velocity():
    """Against 200 Euler steps of the same field."""
    m = made()
    x = points = inner(50)
    for _ in range(200):
        x = x + m._at(m.velocity, x) / 200
    # Euler's error is about half a step, |v| / 400, times the gradient of v.
    assert np.abs(m.to_subject(points) / 0.97 - x).max() < 5e-5


def test_the_determinant_is_that_of_the_moved_corners():
    m = made()
    node = (17, 20, 13)
    x = AFFINE[:3, 3] + 3e-3 * np.array(node)
    corners = [m.to_subject(x + 3e-3 * sign * np.eye(3)) for sign in (1, -1)]
    volume = np.linalg.det((corners[0] - corners[1]) / 6e-3) / 0.97**3
    assert m.jacobian()[node] == pytest.approx(volume, rel=1e-4)
    there = m.to_subject(x[None])
    back = np.linalg.det(
        [(m.to_template(there + 1e-3 * e) - m.to_template(there - 1e-3 * e))[0] / 2e-3 for e in np.eye(3)]
    )
    # A trilinear inverse over a cell: two percent at this strength of deformation.
    assert back * volume * 0.97**3 == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"velocity": np.zeros((2, 4, 4, 4))}, r"velocity must have shape \(3, a, b, c\)"),
        ({"velocity": np.full((3, 4, 4, 4), np.nan)}, "velocity must be finite"),
        ({"affine": np.diag([3e-3, 3e-3, 2e-3, 1])}, "isotropic, axis-aligned"),
        ({"affine": np.eye(3)}, "isotropic, axis-aligned"),
        ({"scale": 0.0}, "scale of a map must be positive"),
    ],
)
def test_impossible_maps_are_refused(changes, text):
    with pytest.raises(PhantomError, match=text):
        made(**changes)


def test_points_are_rows():
    with pytest.raises(PhantomError, match=r"points must be finite, shape \(n, 3\)"):
        made().to_subject(np.zeros(3))
