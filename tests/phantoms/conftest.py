"""Heads that several files look at, made once."""

import pytest

from phantoms import colin27_head, icbm152_head


@pytest.fixture(scope="session")
def small_heads():
    """Both packaged heads at 3 mm."""
    return {"icbm152": icbm152_head(3e-3), "colin27": colin27_head(3e-3)}


@pytest.fixture(scope="session")
def coarse_head():
    """The average head at 2 mm: as one object, its preparation for subjects is done once."""
    return icbm152_head(2e-3)
