import numpy as np
import pytest

from .brain import make_brain


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def brain():
    return make_brain()
