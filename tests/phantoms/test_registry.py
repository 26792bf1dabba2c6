import inspect

import numpy as np
import pytest

from phantoms import Phantom, PhantomError, describe_phantom, make_phantom, phantom_names


def test_every_entry_says_what_it_is():
    assert {
        "icbm152",
        "nist-system",
        "shepp-logan-2d",
        "shepp-logan-3d",
        "sphere",
        "uniform",
        "point",
    } <= set(phantom_names())
    for name in phantom_names():
        entry = describe_phantom(name)
        assert entry.name == name
        assert len(entry.description) > 20
        assert "\n" not in entry.description
        assert entry.source
        assert entry.licence
        assert "voxel_size" in entry.options
        assert inspect.Parameter.empty not in entry.options.values(), name


@pytest.mark.parametrize("name", phantom_names())
def test_every_phantom_can_be_made_from_its_name_alone(name):
    size = 3e-3 if describe_phantom(name).kind == "head" else 9e-3  # at 3 mm heads are at hand
    p = make_phantom(name, voxel_size=size)
    assert isinstance(p, Phantom)
    assert p.voxel_size == pytest.approx((size,) * 3)
    assert 0.5 < p.fractions.sum(axis=0).max() <= 1.0 + 1e-3


def test_unknown_names_and_options_are_explained():
    with pytest.raises(PhantomError, match="name must be one of icbm152"):
        make_phantom("brainweb")
    with pytest.raises(
        PhantomError, match=r"options of 'sphere' must be among .*radius.*; got \['diameter'\]"
    ):
        make_phantom("sphere", diameter=0.1)
    with pytest.raises(PhantomError, match="Give metres"):
        make_phantom("sphere", voxel_size=2.0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sphere", {"radius": "abc"}, "option 'radius' of 'sphere' must be like its default 0.08; got 'abc'"),
        ("sphere", {"radius": True}, "option 'radius' .* got True"),
        ("sphere", {"radius": 80}, "voxel_size must be larger for an object of 160 x 160 x 160 m"),
        ("uniform", {"lengths": (0.1, 0.1)}, "option 'lengths'"),
        ("uniform", {"lengths": (0.1, -0.1, 0.1)}, "lengths of an object must be positive"),
        ("nist-system", {"lot": "third"}, "'first', 'second' or 'lending'"),
        ("nist-system", {"arrays": "t1"}, "option 'arrays'"),
        ("nist-system", {"voxel_size": 2e-4}, "voxels take 180 GiB, 8 at most"),
        ("point", {"voxel_size": -1}, "voxel_size must be positive"),
        ("procedural", {"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_drawn(name, options, message):
    with pytest.raises(PhantomError, match=message):
        make_phantom(name, **options)


def test_options_are_remembered():
    p = make_phantom("nist-system", voxel_size=np.array([0.02, 0.03, 0.02]), arrays=["t1"])
    assert p.provenance["options"] == {"voxel_size": (0.02, 0.03, 0.02), "arrays": ("t1",)}
    assert p.voxel_size == pytest.approx((0.02, 0.03, 0.02))
