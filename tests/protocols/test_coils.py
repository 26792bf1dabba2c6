"""Gradient coils of the library: complete, honest about their origin, and checked when read."""

import math
import tomllib

import pytest

from protocols import (
    CoilHarmonic,
    GradientCoil,
    RecordError,
    list_coils,
    list_scanners,
    load_coil,
    load_scanner,
)
from protocols.records import find_record, load_record
from protocols.scanners.coil import siemens_factor


@pytest.mark.parametrize("name", list_coils())
def test_coils_load_and_say_where_they_come_from(name):
    coil = load_coil(name)
    assert coil.name == name
    assert coil.provenance.source
    # No vendor's table: one published under a licence that allows it, the others made up.
    assert coil.synthetic == name.startswith("synthetic-")
    assert coil.synthetic != coil.provenance.verified
    assert all((axis[0].n, len(axis)) >= (2, 3) for axis in (coil.x, coil.y, coil.z))


def test_every_machine_has_a_coil_and_vendors_differ():
    coils = {name: load_scanner(name).gradients.coil for name in list_scanners()}
    assert coils.pop("ideal-3t") == "none"
    assert set(coils.values()) <= set(list_coils())
    vendors = {name: load_scanner(name).vendor.lower() for name in coils}
    assert all(f"synthetic-{vendors[name]}" in coil for name, coil in coils.items())
    twins = [load_scanner(name) for name in ("siemens-prisma-3t", "siemens-prisma-3t-b")]
    assert twins[0].gradients.coil == twins[1].gradients.coil
    assert twins[0].gradients.coil_error != twins[1].gradients.coil_error
    assert twins[0].response != twins[1].response


@pytest.mark.parametrize(("n", "m"), [(3, 0), (3, 1), (3, 3), (5, 2), (9, 4)])
def test_siemens_normalisation(n, m):
    """sqrt((2n + 1)(n - m)! / (2 (n + m)!)) for m >= 1 and 1 for m = 0 (FreeSurfer, GradUnwarp.cpp)."""
    wanted = 1.0 if m == 0 else math.sqrt((2 * n + 1) / 2 * math.factorial(n - m) / math.factorial(n + m))
    assert siemens_factor(n, m) == pytest.approx(wanted, rel=1e-14)
    coil = GradientCoil(
        name="c", description="", synthetic=True, radius=0.25, valid_radius=0.2, normalization="siemens",
        x=(CoilHarmonic(n=n, m=m, cosine=0.3),), y=(), z=(), source="made for a test", verified=False,
    )  # fmt: skip
    assert coil.unnormalised().x[0].cosine == pytest.approx(0.3 * wanted)
    assert coil.unnormalised().unnormalised() == coil.unnormalised()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"radius": 25.0}, "radius must be 0.01..1 m; got 25"),
        ({"normalization": "ge"}, "normalization: must be one of unnormalised, siemens"),
        ({"x": [{"n": 1, "m": 1, "cosine": 1.0}]}, r"n must be 2..20 \(the linear term is exact\); got 1"),
        ({"x": [{"n": 3, "m": 4, "cosine": 1.0}]}, "m must be 0..n; got m=4, n=3"),
        ({"z": [{"n": 3, "m": 0, "sine": 1.0}]}, "sine has no meaning for m = 0"),
        ({"source": ""}, "source must not be empty"),
    ],
)
def test_bad_coils(change, text):
    table = tomllib.loads(find_record("coils", "synthetic-ge-50").read_text()) | change
    with pytest.raises(RecordError, match=text):
        load_record(GradientCoil, table, "bad.toml")


def test_unknown_coils_are_named():
    with pytest.raises(RecordError, match="Did you mean 'synthetic-ge-50'"):
        load_coil("synthetic-ge-5")
