import numpy as np
import pandas as pd
import pytest

from mrsim import evaluation as ev

# Shrout and Fleiss 1979, table 2: four judges, six targets; table 4: ICC(2,1) = .29, ICC(3,1) = .71.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)


def test_icc_equals_the_published_example():
    assert ev.icc(RATINGS, "2,1") == pytest.approx(0.29, abs=0.005)
    assert ev.icc(RATINGS, "3,1") == pytest.approx(0.71, abs=0.005)


def test_icc_keeps_leading_axes():
    both = ev.icc(np.stack([RATINGS, RATINGS * 3 - 1]), "2,1")
    assert both.shape == (2,)
    assert both[0] == pytest.approx(both[1])


def test_additive_correction_cannot_move_icc_3_1():
    corrected = RATINGS - RATINGS.mean(axis=0)
    assert ev.icc(corrected, "3,1") == pytest.approx(ev.icc(RATINGS, "3,1"))
    assert ev.icc(corrected, "2,1") > 0.7 > ev.icc(RATINGS, "2,1")


def test_icc_of_agreement_and_of_nothing():
    agree = np.repeat(np.arange(5.0)[:, None], 3, axis=1)
    assert ev.icc(agree, "2,1") == pytest.approx(1.0)
    assert np.isnan(ev.icc(np.ones((4, 3))))
    with pytest.raises(ev.MetricInputError, match="kind must be"):
        ev.icc(RATINGS, "1,1")


def long_table(values, repeats=1, rng=None, noise=0.0):
    rows = []
    for (i, j), v in np.ndenumerate(values):
        for r in range(repeats):
            extra = noise * rng.normal() if noise else 0.0
            rows.append({"subject": f"s{i}", "scanner": f"c{j}", "repeat": r, "x": v + extra})
    return pd.DataFrame(rows)


def test_components_of_the_published_example():
    # Their mean squares: BMS 11.24, JMS 32.49, EMS 1.02.
    parts = ev.variance_components(long_table(RATINGS), "x")
    assert parts.between_subject == pytest.approx((11.24 - 1.02) / 4, abs=0.01)
    assert parts.between_scanner == pytest.approx((32.49 - 1.02) / 6, abs=0.01)
    assert parts.interaction == pytest.approx(1.02, abs=0.005)
    assert np.isnan(parts.residual)


def test_planted_components_are_found(rng):
    n, k, r = 200, 30, 3
    sd = {"subject": 3.0, "scanner": 2.0, "interaction": 1.0, "residual": 0.5}
    values = 50 + rng.normal(0, 3.0, (n, 1)) + rng.normal(0, 2.0, (1, k)) + rng.normal(0, 1.0, (n, k))
    parts = ev.variance_components(long_table(values, r, rng, sd["residual"]), "x")
    # Relative sd of a variance from m draws: sqrt(2/m): 0.10 (200), 0.26 (30 scanners), 0.02, 0.01; three
    # of them.
    assert parts.between_subject == pytest.approx(9.0, rel=0.3)
    assert parts.between_scanner == pytest.approx(4.0, rel=0.78)
    assert parts.interaction == pytest.approx(1.0, rel=0.06)
    assert parts.residual == pytest.approx(0.25, rel=0.04)
    assert parts.within_subject == pytest.approx(parts.between_scanner + parts.interaction + parts.residual)


def test_unequal_repeats_stay_unbiased(rng):
    estimates = []
    for _ in range(150):
        values = 50 + rng.normal(0, 3.0, (8, 1)) + rng.normal(0, 1.0, (8, 4))
        table = long_table(values, 3, rng, 1.0)
        table = table[(table["repeat"] == 0) | (rng.random(len(table)) < 0.5)]
        estimates.append(ev.variance_components(table, "x").untruncated)
    # Standard errors over 150 draws of an 8 x 4 design: about 0.4, 0.05, 0.04 (subject, interaction,
    # residual).
    mean = np.mean(estimates, axis=0)
    assert mean[0] == pytest.approx(9.0, abs=1.3)
    assert mean[1] == pytest.approx(0.0, abs=0.1)
    assert mean[2] == pytest.approx(1.0, abs=0.16)
    assert mean[3] == pytest.approx(1.0, abs=0.12)


def test_missing_scans_drop_the_subject():
    table = long_table(RATINGS)
    parts = ev.variance_components(table[~((table.subject == "s2") & (table.scanner == "c1"))], "x")
    assert (parts.n_subjects, parts.n_dropped) == (5, 1)
    with pytest.raises(ev.MetricInputError, match="traveling subjects"):
        ev.variance_components(table[table.scanner == "c0"], "x")
    with pytest.raises(ev.MetricInputError, match="must have columns"):
        ev.variance_components(table, "volume")


def test_within_subject_cov_by_hand():
    matrix = np.array([[90.0, 110.0], [200.0, 200.0]])
    # Subject CoVs: sqrt(200)/100 = 14.14 % and 0; root mean square 10 %.
    assert ev.within_subject_cov(matrix) == pytest.approx(10.0)
    assert ev.within_subject_cov(7.0 * matrix) == pytest.approx(10.0)
    assert np.isnan(ev.within_subject_cov(matrix - 100.0))


def test_scan_rescan_cov_by_hand():
    rows = [("a", "x", 90.0), ("a", "x", 110.0), ("b", "x", 50.0), ("b", "x", 50.0), ("b", "y", 9.0)]
    table = pd.DataFrame(rows, columns=["subject", "scanner", "v"])
    assert ev.scan_rescan_cov(table, "v") == pytest.approx(10.0)
    assert np.isnan(ev.scan_rescan_cov(table[table.scanner == "y"], "v"))


def test_bland_altman_by_hand():
    result = ev.bland_altman([1.0, 3.0, 5.0], [0.0, 3.0, 2.0])
    sd = np.std([1.0, 0.0, 3.0], ddof=1)
    assert result.bias == pytest.approx(4 / 3)
    assert result.loa_high == pytest.approx(4 / 3 + 1.96 * sd)
    # t(2, 0.975) = 4.3027 (any table).
    assert result.bias_high == pytest.approx(4 / 3 + 4.3027 * sd / np.sqrt(3), rel=1e-4)
    with pytest.raises(ev.MetricInputError, match="equally long"):
        ev.bland_altman([1.0, 2.0], [1.0])


def test_variance_table_has_a_row_per_feature():
    table = long_table(RATINGS).assign(y=lambda t: 2 * t["x"])
    result = ev.variance_table(table, ["x", "y"])
    assert list(result["feature"]) == ["x", "y"]
    assert result["icc_2_1"].to_numpy() == pytest.approx(0.29, abs=0.005)


SCANNERS = {
    "siemens-a": ("Siemens", 2.89),
    "siemens-b": ("Siemens", 3.0),
    "ge": ("GE", 3.0),
    "old": ("GE", 1.5),
}


def ladder_table(rng, n=40):
    shift = {"siemens-a": 0.0, "siemens-b": 3.0, "ge": 10.0, "old": 30.0}
    rows = []
    for i in range(n):
        base = rng.normal(200.0, 10.0)
        for name, (vendor, field) in SCANNERS.items():
            for repeat in (0, 1):
                value = base + shift[name] + rng.normal(0.0, 1.0)
                rows.append((f"s{i}", name, vendor, field, repeat, value, 2.0 * value))
    return pd.DataFrame(rows, columns=["subject", "scanner", "vendor", "field", "repeat", "x", "y"])


def test_ladder_climbs_and_has_the_planted_sizes(rng):
    ladder = ev.site_effect_ladder(ladder_table(rng), ["x", "y"], rng=rng, n_boot=200)
    x = ladder[ladder["feature"] == "x"].set_index("rung")
    assert list(x.index) == ["scan-rescan", "same vendor", "across vendors", "across fields"]
    # Noise alone: sqrt(1) / 200 (small spread of means from the shifts): 0.5 %; same vendor sqrt(1 +
    # 9/2)/200.
    assert x.loc["scan-rescan", "cov"] == pytest.approx(0.5, rel=0.15)
    assert x.loc["same vendor", "cov"] == pytest.approx(100 * np.sqrt(5.5) / 201.5, rel=0.1)
    assert np.all(np.diff(x["cov"]) > 0)
    assert np.all((x["ci_low"] < x["cov"]) & (x["cov"] < x["ci_high"]))
    y = ladder[ladder["feature"] == "y"].set_index("rung")
    assert y["cov"].to_numpy() == pytest.approx(x["cov"].to_numpy())
    assert set(ladder["feature"]) == {"x", "y", "median"}
    # 40 people, 4 scanners with 2 repeats: 4 rescan pairs each; 2.89 T and 3 T are one field.
    assert x.loc["scan-rescan", "n_pairs"] == 160
    assert x.loc["same vendor", "n_pairs"] == 160
    assert x.loc["across fields", "n_pairs"] == 40 * 3 * 4


def test_ladder_without_repeats_leaves_the_rung_out(rng):
    table = ladder_table(rng, n=3)
    ladder = ev.site_effect_ladder(table[table["repeat"] == 0], ["x"], rng=rng, n_boot=50)
    assert "scan-rescan" not in set(ladder["rung"])
    with pytest.raises(ev.MetricInputError, match="must have columns"):
        ev.site_effect_ladder(table.drop(columns="vendor"), ["x"], rng=rng)
