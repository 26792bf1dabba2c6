import json
import math

import numpy as np
import pytest

from phantoms import (
    SemisolidPool,
    TissueCurve,
    TissueError,
    TissueProperties,
    TissueTable,
    default_tissue_table,
)

TABLE = default_tissue_table()


@pytest.mark.parametrize(
    ("name", "b0", "t1", "t2"),
    [
        ("wm", 1.5, 0.646, 0.080),  # Wright 2008 (T1), Cox & Gowland 2010 (T2)
        ("wm", 3.0, 0.838, 0.071),
        ("wm", 7.0, 1.126, 0.047),
        ("gm", 1.5, 1.197, 0.087),
        ("gm", 3.0, 1.607, 0.076),
        ("gm", 7.0, 1.939, 0.047),
        ("putamen", 3.0, 1.332, 0.049),
        ("csf", 3.0, 4.163, 2.1),
    ],
)
def test_published_values_are_met_at_the_tabulated_fields(name, b0, t1, t2):
    p = TABLE.at(name, b0)
    assert p.t1 == pytest.approx(t1, rel=1e-9)  # interpolation passes through its nodes
    assert p.t2 == pytest.approx(t2, rel=1e-9)


def test_t2_star_is_the_published_one():
    # Peters 2007: WM 53.2 ms, GM 66.0 ms at 3 T; T2' is defined by 1/T2* - 1/T2.
    assert TABLE.at("wm", 3.0).t2_star == pytest.approx(0.0532, rel=1e-9)
    assert TABLE.at("gm", 3.0).t2_star == pytest.approx(0.0660, rel=1e-9)


def test_susceptibility_law_replaces_a_t2_star_above_t2():
    # 0.55 T: R2' = 137 * (0.0059 + 0.0359) * 0.55 / 3 (Shin 2021).
    assert 1 / TABLE.at("wm", 0.55).t2_prime == pytest.approx(137 * 0.0418 * 0.55 / 3, rel=1e-9)


@pytest.mark.parametrize("name", ["wm", "gm", "thalamus", "putamen"])
def test_interpolation_is_monotone_in_the_field(name):
    t1 = [TABLE.at(name, b).t1 for b in np.linspace(0.55, 7.0, 200)]
    assert (np.diff(t1) > 0).all()
    t2 = [TABLE.at(name, b).t2_star for b in np.linspace(1.5, 7.0, 200)]
    assert (np.diff(t2) <= 1e-12).all()


def test_magnetom_prisma_field_lies_between_its_neighbours():
    for name in ("wm", "gm"):
        low, mid, high = (TABLE.at(name, b).t1 for b in (1.5, 2.89, 3.0))
        assert low < mid < high
        assert (high - mid) / (high - low) < 0.2  # 2.89 T is close to 3 T


def test_values_outside_the_table_are_held_and_not_verified():
    assert TABLE.at("wm", 9.4).t1 == TABLE.at("wm", 7.0).t1
    assert not TABLE.at("wm", 9.4).verified
    assert TABLE.at("wm", 3.0).verified


def test_unread_sources_are_never_called_verified():
    assert not TABLE.at("thalamus", 3.0).verified
    assert not TABLE.at("wm", 0.55).verified
    assert not TABLE.at("hippocampus", 3.0).verified  # alias: a choice
    for name in TABLE.names:
        assert TABLE.at(name, 3.0).sources, name


def test_every_tissue_is_physical_at_every_field():
    for name in TABLE.names:
        for b0 in np.geomspace(0.03, 9.4, 60):
            p = TABLE.at(name, b0)
            assert 0 < p.t2_star <= p.t2 * (1 + 1e-12)  # round-off where T2' is infinite
            assert p.t2 <= p.t1


FIELDS = (0.055, 0.55, 1.5, 3.0, 7.0)


def test_every_value_at_the_five_fields_has_a_source_and_a_flag():
    for name, curve in TABLE.curves.items():
        assert curve.b0 == FIELDS, name
        for key in ("t1", "t2", "t2star", "pd", "chi", "adc"):
            assert len(curve.sources[key]) > 10, (name, key)
            assert len(curve.flags[key]) == len(FIELDS), (name, key)
        assert curve.verified == tuple(all(v) for v in zip(*curve.flags.values(), strict=True))
    # T1 of white matter: read at all fields but 0.55 T; T2 read at the three of Cox & Gowland.
    assert TABLE.curves["wm"].flags["t1"] == (True, False, True, True, True)
    assert TABLE.curves["wm"].flags["t2"] == (False, False, True, True, True)


def test_measured_and_derived_values():
    # UNITY, T1 at 64 mT: thalamus 0.2946 s, hippocampus 0.3403 s, times (55/64)^0.16.
    assert TABLE.at("thalamus", 0.055).t1 == pytest.approx(0.2946 * (55 / 64) ** 0.16, rel=2e-3)
    assert TABLE.at("hippocampus", 0.055).t1 == pytest.approx(0.3403 * (55 / 64) ** 0.16, rel=2e-3)
    # Gelman 1999, pallidum at 3 T: R2 25.8, R2' 12.0 /s; the table rounds to 0.1 ms.
    gp = TABLE.at("pallidum", 3.0)
    assert 1 / gp.t2 == pytest.approx(25.8, rel=3e-3)
    assert 1 / gp.t2_prime == pytest.approx(12.0, rel=1e-2)
    # Lu 2004: arterial 1664 ms, venous 1584 ms.
    assert TABLE.at("arterial_blood", 3.0).t1 == pytest.approx(1.664)
    assert TABLE.at("venous_blood", 3.0).t1 == pytest.approx(1.584)
    # Deoxygenated blood dephases fast, oxygenated does not.
    assert TABLE.at("venous_blood", 3.0).t2_star < 0.25 * TABLE.at("arterial_blood", 3.0).t2_star


def test_chi_is_the_sum_of_its_parts():
    assert TABLE.at("gm", 3).chi == pytest.approx(0.0200)
    assert TABLE.at("wm", 3).chi == pytest.approx(-0.0300)
    assert TABLE.at("fat", 3).shift_ppm == -3.4


def test_both_parts_of_the_susceptibility_are_known_and_scale_together():
    p = TABLE.at("pallidum", 3.0)
    assert (p.chi_plus, p.chi_minus) == (0.1437, -0.0132)  # Ridani 2026
    more = p.scaled({"chi": 1.5})
    assert more.chi_plus + more.chi_minus == pytest.approx(1.5 * p.chi, abs=1e-6)
    assert all(curve.chi_plus is not None for curve in TABLE.curves.values())
    assert TissueProperties(name="x", t1=1.0, t2=0.1, chi=0.1).chi_minus is None


def test_semisolid_pools_are_those_of_the_two_pool_model():
    """Stanisz 2005: white matter M0b 13.9 %, R 23 /s, T2b 10 us; the free pool loses R M0b."""
    pool = TABLE.at("wm", 3.0).semisolid
    assert (pool.ratio, pool.rate, pool.t2) == pytest.approx((0.139, 23.0, 10e-6))
    assert pool.k_f == pytest.approx(3.197)
    assert TABLE.at("wm", 7.0).semisolid == pool
    assert {n for n in TABLE.names if TABLE.at(n, 3.0).semisolid is None} == {
        "csf", "ventricular_csf", "extracranial_fluid", "skull", "marrow", "fat", "skin"}  # fmt: skip
    assert not any(c.semisolid.verified for c in TABLE.curves.values() if c.semisolid)  # none was opened
    uniform = TissueTable.uniform(TABLE.at("wm", 3.0))
    assert uniform.at("wm", 1.5).semisolid == pool
    with pytest.raises(ValueError, match="ratio of a semisolid pool must be between 0 and 1"):
        SemisolidPool(ratio=1.2, rate=20.0, t1=1.0, t2=1e-5)
    with pytest.raises(ValueError, match="t2 of a semisolid pool must be positive"):
        SemisolidPool(ratio=0.1, rate=20.0, t1=1.0, t2=0.0)


def test_table_round_trip_through_json():
    assert TissueTable.from_dict(json.loads(json.dumps(TABLE.to_dict()))) == TABLE


def test_tables_of_files_without_the_newer_values_are_read():
    old = TABLE.to_dict()["wm"]
    del old["chi_plus"], old["semisolid"]
    p = TissueTable.from_dict({"wm": old}).at("wm", 3.0)
    assert p.chi == pytest.approx(-0.03)
    assert p.chi_plus is p.semisolid is None


def test_scaled_multiplies_and_refuses_unknown_keys():
    p = TABLE.at("wm", 3.0).scaled({"t1": 1.02})
    assert p.t1 == pytest.approx(0.838 * 1.02)
    with pytest.raises(TissueError, match="scale of tissue 'wm' must map"):
        TABLE.at("wm", 3.0).scaled({"t3": 1.0})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"t1": 0.05}, "t2 must not exceed t1"),
        ({"t2": 0.0}, "t2 must be positive"),
        ({"t1": math.nan}, "t1 must be positive"),
        ({"pd": -1.0}, "pd must be finite"),
        ({"chi": math.inf}, "chi must be finite"),
        ({"chi": 0.2, "chi_plus": 0.1}, "chi_plus must be finite, not negative and at least chi"),
    ],
)
def test_bad_properties_are_refused(changes, text):
    with pytest.raises(TissueError, match=text):
        TissueProperties(**{"name": "x", "t1": 1.0, "t2": 0.1, **changes})


def test_bad_curves_and_names_are_refused():
    with pytest.raises(TissueError, match="increasing"):
        TissueCurve(name="x", b0=(3.0, 1.5), t1=(1.0, 1.0), t2=(0.1, 0.1), t2_prime=(1.0, 1.0))
    with pytest.raises(TissueError, match="one t1, t2 and t2_prime per field"):
        TissueCurve(name="x", b0=(3.0,), t1=(1.0, 1.0), t2=(0.1,), t2_prime=(1.0,))
    with pytest.raises(TissueError, match="tissue must be one of"):
        TABLE.at("bone", 3.0)
    with pytest.raises(TissueError, match="b0 must be a positive"):
        TABLE.at("wm", 0.0)
