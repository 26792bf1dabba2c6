import json

import h5py
import numpy as np
import pytest

from phantoms import (
    DiffusionModel,
    PhantomFileError,
    TensorCompartment,
    ball,
    load_phantom,
    save_phantom,
    stick,
)

from ..diffusion_models import crossing, linear, phantom, sphere


def mapped_model():
    """A model with a map of every kind."""
    rng = np.random.default_rng(8)
    f = rng.uniform(0.2, 0.6, (3, 4, 2)).astype(np.float32)
    tensor = np.broadcast_to(np.diag([1e-9, 5e-10, 2e-10]), (3, 4, 2, 3, 3))
    return crossing(
        compartments=(
            stick(fraction=f, diffusivity=rng.uniform(1e-9, 2e-9, f.shape)),
            TensorCompartment(fraction=1 - f, tensor=tensor),
        )
    )


@pytest.mark.parametrize("make", [crossing, mapped_model])
def test_file_round_trip(tmp_path, make):
    p = phantom(make())
    save_phantom(tmp_path / "a.h5", p)
    save_phantom(tmp_path / "b.h5", p)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    q = load_phantom(tmp_path / "a.h5").diffusion
    cells, b = np.arange(24), linear(1e9, sphere(7))
    assert np.array_equal(q.attenuation("wm", b, cells), p.diffusion.attenuation("wm", b, cells))
    assert np.array_equal(q.affine, p.diffusion.affine)
    assert p.replace({"name": "q"}).diffusion is p.diffusion


def test_constants_need_no_grid(tmp_path):
    free, still = ball(fraction=0.4, diffusivity=3e-9), ball(fraction=0.6, diffusivity=0.0)
    m = DiffusionModel(tissues={"gm": (free, still)})
    save_phantom(tmp_path / "a.h5", phantom(m))
    q = load_phantom(tmp_path / "a.h5").diffusion
    assert q.shape == (1, 1, 1)
    got = q.attenuation("gm", linear(1e9, sphere(3)), q.cells(np.ones((2, 3))))
    assert got == pytest.approx(0.4 * np.exp(-3) + 0.6, rel=1e-12)


def change_json(f, change):
    described = json.loads(f["diffusion/compartments"][()].tobytes())
    change(described)
    del f["diffusion/compartments"]
    f["diffusion/compartments"] = np.frombuffer(json.dumps(described).encode(), np.uint8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.__delitem__("diffusion/compartments"), "'compartments' must be present"),
        (lambda f: f.__delitem__("diffusion/weights"), "'weights' must be present"),
        (lambda f: f.__delitem__("diffusion/map0"), "'map0' must be present"),
        (lambda f: change_json(f, lambda d: d["wm"][0].pop("fraction")), "KeyError"),
        (lambda f: change_json(f, lambda d: d["wm"][0].update(fraction="x")), "content must describe"),
        (lambda f: change_json(f, lambda d: d.update(csf=d.pop("wm"))), "must name tissues"),
        (lambda f: change_json(f, lambda d: d["wm"].pop()), "must add up to 1"),
    ],
)
def test_bad_files_are_refused(tmp_path, change, text):
    path = tmp_path / "bad.h5"
    save_phantom(path, phantom(mapped_model()))
    with h5py.File(path, "r+") as f:
        change(f)
    with pytest.raises(PhantomFileError, match=text):
        load_phantom(path)
