"""The listed methods equal their references; ``-s`` prints the differences."""

import pytest

from .agreement import comparisons
from .references import HARMREF

ALL = list(comparisons())


@pytest.mark.parametrize("one", ALL, ids=str)
def test_equals_reference(one):
    if one.needs_harmref and not (HARMREF / "README.md").is_file():
        pytest.skip(f"numeric references are not at ../shared ({HARMREF.name})")
    largest = one.largest()
    print(f"\n{one}: {largest:.1e}")
    assert largest < one.asked
