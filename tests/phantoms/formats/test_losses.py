"""What each written format keeps of a phantom: the table of docs/phantom-formats.md, row by row."""

import re
from pathlib import Path

import numpy as np
import pytest

from phantoms import (
    Diffeomorphism,
    DiffusionModel,
    Phantom,
    SemisolidPool,
    TissueProperties,
    TissueTable,
    ball,
    load_phantom,
    read_phantom_file,
    write_phantom_file,
)

PAGE = Path(__file__).parents[3] / "docs" / "phantom-formats.md"
SHAPE = (3, 4, 5)
RNG = np.random.default_rng(4)
BARE = {"t1": 1.2, "t2": 0.09}


def phantom(properties=None, **changes):
    """Half of every voxel is water; of one field, without anything that a format could lose."""
    table = TissueTable.uniform(TissueProperties(name="water", **{**BARE, **(properties or {})}))
    values = {
        "tissues": ("water",),
        "fractions": np.full((1, *SHAPE), 0.5, np.float32),
        "affine": np.diag([2e-3, 3e-3, 4e-3, 1.0]),
        "table": table,
    }
    return Phantom(name="p", **{**values, **changes})


def two_fields():
    curve = phantom().table.curves["water"]
    values = {k: getattr(curve, k) * 2 for k in ("t1", "t2", "t2_prime")}
    curves = {"water": type(curve)(name="water", b0=(1.5, 3.0), **values)}
    return phantom(table=TissueTable(curves=curves))


TEXTURE = RNG.uniform(0.9, 1.1, SHAPE).astype(np.float32)
POOL = SemisolidPool(ratio=0.1, rate=20.0, t1=1.0, t2=1e-5)
MAP = Diffeomorphism(velocity=np.zeros((3, 4, 4, 4), np.float32), affine=np.diag([3e-3] * 3 + [1]), scale=1.0)
MODEL = DiffusionModel(tissues={"water": (ball(fraction=1.0, diffusivity=1e-9),)})

# Row of the page: phantom, how its cloud shows it (None: not at all), words of the line that tells a loss
ROWS = {
    "T1, T2, T2'": (phantom({"t2_prime": 0.04}), lambda c: (c.t1[0], c.t2[0], c.t2_prime[0]) == pytest.approx(
        (1.2, 0.09, 0.04)), None),
    "diffusion coefficient": (phantom({"adc": 2e-9}), lambda c: c.adc == pytest.approx(np.full(60, 2e-9)),
                              None),
    "proton density": (phantom({"pd": 0.8}), lambda c: c.m0 == pytest.approx(np.full(60, 0.4)),
                       "proton density apart"),
    "texture": (phantom(texture=TEXTURE), lambda c: c.m0 == pytest.approx(0.5 * TEXTURE.ravel()),
                "proton density apart"),
    "chemical shift (fat)": (phantom({"shift_ppm": -3.4}), lambda c: c.df == pytest.approx(
        np.full(60, -3.4e-6 * 42.577478518e6 * 3.0)), "a chemical one"),
    "susceptibility": (phantom({"chi": 0.1}), None, "susceptibilities"),
    "semisolid pool": (phantom({"semisolid": POOL}), None, "semisolid pools"),
    "diffusion model, fibres": (phantom(diffusion=MODEL), None, "the diffusion model"),
    "labels": (phantom(labels=np.ones(SHAPE, np.int16), regions={1: "all"}), None, "region labels"),
    "truth": (phantom(truth={"age": 50.0}), None, "the truth block"),
    "provenance, licence": (phantom(provenance={"licence": "CC0"}), None, "provenance and licence"),
    "map from the template": (phantom(transform=MAP), None, "the map from the template"),
    "other field strengths": (two_fields(), None, "tissue values at other fields"),
}  # fmt: skip


def page_table():
    """Return the cells of the page's table by row: native, BIfTI, KomaMRI."""
    text = PAGE.read_text(encoding="utf-8").split("## What is kept and lost")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?P<name>[^|]+?) \| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return {name.replace("′", "'"): cells for name, *cells in rows[1:] if not name.startswith("--")}


def same(a, b):
    """Whether two phantoms agree in everything that a row may show."""
    for key in ("truth", "provenance", "regions", "scale"):
        assert getattr(a, key) == getattr(b, key)
    for key in ("labels", "texture", "fractions"):
        assert np.array_equal(getattr(a, key), getattr(b, key)) or getattr(a, key) is getattr(b, key) is None
    for key in ("diffusion", "transform"):
        assert (getattr(a, key) is None) == (getattr(b, key) is None)
    assert a.properties(2.0) == b.properties(2.0)


def test_the_page_has_every_row():
    assert set(page_table()) == set(ROWS) | {"fractions", "positions and voxel", "field strength"}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_kept_or_told(tmp_path, row):
    made, shows, words = ROWS[row]
    native, *others = page_table()[row]
    assert native == "yes"
    assert write_phantom_file(tmp_path / "p.h5", made).lost == ()
    same(load_phantom(tmp_path / "p.h5"), made)
    for name, cell in zip(("p.json", "p.phantom"), others, strict=True):
        told = write_phantom_file(tmp_path / name, made, b0=3.0)
        cloud = read_phantom_file(tmp_path / name)
        # A cell begins with yes (nothing is told), lost, or with what becomes of it.
        assert (words is None) == cell.startswith("yes"), cell
        assert (shows is None) == cell.startswith("lost"), cell
        if shows is not None:
            assert shows(cloud)
        if words is not None:
            assert any(words in line for line in told.lost), told.lost


def test_nothing_is_called_lost_of_a_bare_phantom(tmp_path):
    assert write_phantom_file(tmp_path / "p.json", phantom(), b0=3.0).lost == ()
    cloud = read_phantom_file(tmp_path / "p.json")
    assert (cloud.b0, cloud.voxel.diagonal().tolist()) == (3.0, pytest.approx([2e-3, 3e-3, 4e-3]))
    told = write_phantom_file(tmp_path / "p.phantom", phantom(), b0=3.0).lost
    assert len(told) == 2
    assert any("voxel" in line or "extent" in line for line in told)
    assert any("field" in line for line in told)
    assert (read_phantom_file(tmp_path / "p.phantom").m0 == 0.5).all()
