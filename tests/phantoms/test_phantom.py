import subprocess
import sys

import numpy as np
import pytest

import phantoms
from phantoms import Phantom, PhantomError


def simple(**changes):
    f = np.zeros((2, 3, 4, 5), np.float32)
    f[0, 1], f[1, 2] = 0.75, 1.0
    values = {"name": "x", "tissues": ("gm", "wm"), "fractions": f, "affine": np.diag([1e-3, 2e-3, 3e-3, 1])}
    return Phantom(**{**values, **changes})


def test_geometry_and_volumes():
    p = simple()
    assert p.shape == (3, 4, 5)
    assert p.voxel_size == pytest.approx((1e-3, 2e-3, 3e-3))
    assert p.volumes()["gm"] == pytest.approx(20 * 0.75 * 6e-9)
    assert p.brain_mask().sum() == 40


def test_properties_follow_the_order_and_the_scale():
    p = simple(scale={"wm": {"t1": 1.5}})
    gm, wm = p.properties(3.0)
    assert (gm.name, wm.name) == ("gm", "wm")
    assert wm.t1 == pytest.approx(1.5 * 0.838)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"tissues": ("gm", "gm")}, "different names"),
        ({"tissues": ("gm", "nothing")}, "must be in the table"),
        ({"fractions": np.zeros((3, 3, 4, 5))}, r"shape \(2, x, y, z\)"),
        ({"fractions": np.full((2, 3, 4, 5), 0.6)}, "sum to at most 1"),
        ({"fractions": np.full((2, 3, 4, 5), -0.1)}, "lie in 0..1"),
        ({"fractions": np.full((2, 3, 4, 5), np.nan)}, "lie in 0..1"),
        ({"affine": np.eye(3)}, r"finite \(4, 4\)"),
        ({"affine": np.diag([1.0, 1.0, 0.0, 1.0])}, "invertible"),
        ({"labels": np.zeros((3, 4, 5), np.int32)}, "labels must be int16"),
        ({"scale": {"csf": {"t1": 1.0}}}, "must name tissues of the phantom"),
        ({"scale": {"wm": {"t9": 1.0}}}, "must map one of"),
        ({"transform": np.eye(4)}, "transform must be a Diffeomorphism or None; got ndarray"),
        ({"truth": {"x": object()}}, "plain JSON"),
        ({"truth": {"x": float("nan")}}, "plain JSON"),
    ],
)
def test_bad_phantoms_are_refused(changes, text):
    with pytest.raises(PhantomError, match=text):
        simple(**changes)


def test_public_names_resolve():
    for name in phantoms.__all__:
        assert getattr(phantoms, name).__name__ == name
    assert phantoms.__all__ == sorted(phantoms.__all__)


def test_importing_the_package_is_light():
    code = "import sys, phantoms; print(sorted({'numba', 'h5py', 'scipy', 'numpy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
