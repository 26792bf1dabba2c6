"""The package's surface: exported names, the registry, and what importing it costs."""

import subprocess
import sys

import pytest

import mrsim.harmonizers as package
from mrsim.harmonizers import (
    ComBat,
    DiffusionHarmonizer,
    FeatureHarmonizer,
    ImageHarmonizer,
    UnknownHarmonizerError,
    harmonizer,
    list_harmonizers,
)


def test_every_exported_name_exists_and_is_sorted():
    assert package.__all__ == sorted(package.__all__)
    assert set(package.__all__) == set(package._HOME)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    assert dir(package) == package.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


KINDS = {"image": ImageHarmonizer, "diffusion": DiffusionHarmonizer, "feature": FeatureHarmonizer}


def test_registry_describes_every_method():
    infos = list_harmonizers()
    assert [i.name for i in infos] == sorted(i.name for i in infos)
    for info in infos:
        method = harmonizer(info.name)
        assert isinstance(method, KINDS[info.kind])
        assert info.summary.endswith((".", "x.", "y = x."))
        assert len(info.summary) <= 110
        assert info.parameters == method.get_params()
        assert not info.capabilities.needs_pairs


def test_parameters_by_name():
    assert harmonizer("combat", mean_only=True).get_params()["mean_only"] is True
    assert repr(harmonizer("blur", fwhm=6e-3)) == "GaussianBlur(fwhm=0.006)"
    with pytest.raises(ValueError, match=r"params must be among .*'fwhm'.*got 'sigma'"):
        harmonizer("blur", sigma=1)
    with pytest.raises(UnknownHarmonizerError, match=r"got 'combatt'\. Did you mean 'combat'"):
        harmonizer("combatt")


def test_parameters_are_stored_unchanged():
    marker = ["not", "checked", "before", "fit"]
    assert ComBat(reference_site=marker).reference_site is marker


def printed(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_loads_no_heavy_package():
    """`mrsim --help` may list methods: neither pandas, scipy, sklearn nor nibabel belongs to that."""
    heavy = {"matplotlib", "nibabel", "numba", "pandas", "pytest", "scipy", "sklearn"}
    for use in ("h.list_harmonizers()", "h.check_harmonizer, h.save_harmonizer"):
        loaded = printed(f"import sys, mrsim.harmonizers as h; {use}; print(*sys.modules)").split()
        assert not heavy & set(loaded)
    assert "numpy" not in printed("import sys, mrsim.harmonizers; print(*sys.modules)").split()
