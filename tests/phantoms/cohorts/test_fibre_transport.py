import numpy as np
import pytest

from phantoms import DiffusionModel, stick
from phantoms.cohorts.deformation import Grid
from phantoms.cohorts.fibre_transport import carried

GRID = Grid(origin=(-0.03, -0.03, -0.03), spacing=3e-3, shape=(21, 22, 20))


def model(directions):
    n = np.asarray(directions, float)
    n = n / np.linalg.norm(n, axis=-1, keepdims=True)
    count = len(n)
    d = np.broadcast_to(n[:, None, None, None, :], (count, 2, 2, 2, 3)).copy()
    return DiffusionModel(
        tissues={"wm": (stick(fraction=1.0, diffusivity=1e-9),)},
        directions=d, weights=np.full((count, 2, 2, 2), 1 / count), affine=np.diag([0.05, 0.05, 0.05, 1]),
    )  # fmt: skip


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_a_linear_map_turns_directions_by_its_matrix(scale):
    """Subject = scale A x: directions become A n, normalized, whatever the scale."""
    a = np.array([[1.2, 0.3, 0.0], [-0.1, 0.9, 0.2], [0.05, 0.0, 0.8]])
    nodes = [GRID.origin[k] + GRID.spacing * np.arange(GRID.shape[k]) for k in range(3)]
    y = np.stack(np.meshgrid(*nodes, indexing="ij"))
    u = (np.einsum("ab,bxyz->axyz", np.linalg.inv(a), y) - y).astype(np.float32)
    n = np.array([[1.0, 0.2, -0.4], [0.0, 1.0, 1.0]])
    points = np.array([[0.001, 0.002, -0.003], [0.01, -0.008, 0.006]])
    got, w = carried(model(n), GRID, u, scale, points)
    want = n @ a.T
    want /= np.linalg.norm(want, axis=-1, keepdims=True)
    assert got == pytest.approx(np.repeat(want[:, None], 2, axis=1), abs=1e-5)  # float32 differences
    assert w == pytest.approx(np.full((2, 2), 0.5))


def test_crossings_keep_their_fibres_not_their_angle():
    """Compression along x opens the angle of fibres at 45 degrees on both sides of x."""
    y = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in GRID.shape], indexing="ij"))
    u = np.zeros((3, *GRID.shape), np.float32)
    u[0] = ((y[0] * GRID.spacing + GRID.origin[0]) * (1 / 0.5 - 1)).astype(np.float32)
    got, _ = carried(model([[1, 1, 0], [1, -1, 0]]), GRID, u, 1.0, np.zeros((1, 3)))
    angle = np.degrees(np.arccos(abs(got[0, 0] @ got[1, 0])))
    assert angle == pytest.approx(2 * np.degrees(np.arctan(0.5)), abs=1e-3)
