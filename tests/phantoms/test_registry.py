import inspect

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
    p = make_phantom(name, voxel_size=9e-3)
    assert isinstance(p, Phantom)
    assert p.voxel_size == pytest.approx((9e-3,) * 3)
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
