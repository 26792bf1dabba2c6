"""From a scanner's habits and a study's wishes to options of the reconstruction."""

import pytest

from mrsim.studies.installed import scanner_with
from mrsim.studies.recon_choice import recon_options
from mrsim.studies.study import ReconOverride
from protocols import list_scanners, load_scanner
from recon import ReconOptions

NATIVE = ReconOverride().model_dump()


def test_habits_of_the_vendors():
    """Siemens 3 T normalizes adaptive images; GE has a Fermi window and plain sums; Philips a weak filter."""
    prisma = recon_options(load_scanner("siemens-prisma-3t"), NATIVE)
    assert (prisma.combine, prisma.intensity_correction) == ("adaptive", "prescan_normalize")
    assert prisma.window.kind == "none"
    ge = recon_options(load_scanner("ge-premier-3t"), NATIVE)
    assert (ge.combine, ge.intensity_correction) == ("rss", "none")
    assert (ge.window.kind, ge.window.radius, ge.window.width) == ("fermi", 1.0, 0.078)
    philips = load_scanner("philips-ingenia-3t")
    options = recon_options(philips, NATIVE)
    assert (options.window.kind, options.window.alpha) == ("tukey", philips.recon.window_width)
    assert recon_options(load_scanner("siemens-avanto-1p5t"), NATIVE).partial_fourier == "zero"


@pytest.mark.parametrize("name", list_scanners())
def test_every_scanner_has_valid_options(name):
    options = recon_options(load_scanner(name), NATIVE)
    assert isinstance(options, ReconOptions)
    assert recon_options(load_scanner(name), {}) == options  # no wish at all
    assert options.acceleration == "auto"
    assert options.bits is None  # floats on the receiver's scale
    assert options.zero_fill is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("combine", "espirit"),
        ("combine", "rss"),
        ("acceleration", "sense"),
        ("acceleration", "cg_sense"),
        ("partial_fourier", "pocs"),
        ("partial_fourier", "zero"),
        ("intensity_correction", "none"),
    ],
)
def test_a_wish_changes_what_it_names_only(key, value):
    scanner = load_scanner("siemens-prisma-3t")
    own = recon_options(scanner, NATIVE)
    wished = recon_options(scanner, ReconOverride(**{key: value}).model_dump())
    assert getattr(wished, key) == value
    for name in ("combine", "acceleration", "partial_fourier", "intensity_correction", "window"):
        if name != key:
            assert getattr(wished, name) == getattr(own, name)


@pytest.mark.parametrize("key", ["combine", "acceleration", "partial_fourier", "intensity_correction"])
def test_everything_a_study_may_wish_is_understood(key):
    """Each word of the study file's schema is one that the reconstruction knows."""
    from typing import get_args

    scanner = load_scanner("ge-premier-3t")
    for value in get_args(ReconOverride.model_fields[key].annotation):
        recon_options(scanner, {key: value})
    with pytest.raises(ValueError, match=key):
        recon_options(scanner, {key: "magic"})


@pytest.mark.parametrize(
    ("record", "option"), [("zero_fill", "zero"), ("homodyne", "homodyne"), ("pocs", "pocs")]
)
def test_partial_fourier_habits(record, option):
    scanner = scanner_with(load_scanner("siemens-prisma-3t"), {"recon": {"partial_fourier": record}})
    assert recon_options(scanner, NATIVE).partial_fourier == option


def test_hamming_window():
    scanner = scanner_with(load_scanner("siemens-prisma-3t"), {"recon": {"window": "hamming"}})
    assert recon_options(scanner, NATIVE).window.kind == "hamming"
