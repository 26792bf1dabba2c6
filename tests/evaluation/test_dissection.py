"""Constructed cases whose answer is known before the code runs."""

import pkgutil

import numpy as np
import pytest

from mrsim import evaluation as ev
from mrsim.evaluation.dissection import TERMS

N_SUBJECTS, N_SITES, N_FEATURES = 8, 4, 5


@pytest.fixture
def crossed(rng):
    """Truth, raw with additive and gain site effects plus noise, and labels; subject-major rows."""
    people = rng.normal(10.0, 2.0, (N_SUBJECTS, N_FEATURES))
    shift = rng.normal(0.0, 1.5, (N_SITES, N_FEATURES))
    gain = np.array([0.8, 0.95, 1.1, 1.2])
    subject, site = np.divmod(np.arange(N_SUBJECTS * N_SITES), N_SITES)
    truth = people[subject]
    centred = truth - people.mean(axis=0)
    raw = people.mean(axis=0) + shift[site] + gain[site, None] * centred
    raw = raw + rng.normal(0.0, 0.2, raw.shape)
    return {"raw": raw, "truth": truth, "site": site, "subject": subject, "shift": shift, "centred": centred}


def split(data, harmonized, **more):
    return ev.dissect(
        data["raw"], harmonized, data["truth"], site=data["site"], subject=data["subject"], **more
    )


def mse(a, b):
    return np.mean((a - b) ** 2, axis=0)


def test_terms_add_up_to_the_mean_squared_error(crossed, rng):
    harmonized = rng.normal(10.0, 2.0, crossed["raw"].shape) + 0.3 * crossed["raw"]
    for groups in (None, np.array(["a", "b", "a", "a", "b"])):
        result = split(crossed, harmonized, groups=groups)
        for terms, data in ((result.raw, crossed["raw"]), (result.harmonized, harmonized)):
            wanted = mse(data, crossed["truth"])
            if groups is not None:
                wanted = np.array([wanted[groups == g].sum() for g in result.groups])
            # An orthogonal split: exact up to rounding.
            assert sum(terms[t] for t in TERMS) == pytest.approx(wanted, rel=1e-9)


def test_answer_adds_up_to_the_gap_closed(crossed, rng):
    answer = split(crossed, 0.5 * crossed["raw"] + rng.normal(4.0, 1.0, crossed["raw"].shape)).pooled()
    total = answer["fixed"] + answer["residue_removed"]
    total -= answer["destroyed"] + answer["invented"] + answer["confounded"]
    assert total == pytest.approx(answer["gap_closed"], abs=1e-9)


def test_identity_changes_nothing(crossed):
    result = split(crossed, crossed["raw"])
    answer = result.pooled()
    for name in ("fixed", "destroyed", "invented", "residue_removed", "gap_closed"):
        assert answer[name] == pytest.approx(0.0, abs=1e-12)
    site = result.raw["site_shift"] + result.raw["site_gain"]
    # The planted site effects dominate: noise enters with 1/8 of its variance per estimated mean.
    assert answer["left"] == pytest.approx(site.sum() / mse(crossed["raw"], crossed["truth"]).sum())
    assert answer["left"] > 0.9


def test_oracle_fixes_all(crossed):
    result = split(crossed, crossed["truth"])
    answer = result.pooled()
    assert all(np.all(result.harmonized[t] == 0.0) for t in TERMS)
    assert answer["gap_closed"] == pytest.approx(1.0)
    assert answer["left"] == 0.0
    # What the raw scans had lost or inflated is repaired: never positive.
    assert answer["destroyed"] <= 0.0
    assert answer["invented"] <= 0.0
    assert result.retained == pytest.approx(1.0)


def test_removing_the_additive_effect_leaves_the_gain(crossed):
    harmonized = crossed["raw"] - crossed["shift"][crossed["site"]]
    result = split(crossed, harmonized)
    noise_floor = 0.2**2 / N_SUBJECTS
    # The mean of 8 noise draws per site and feature remains; factor 3 for a chi-square of 4 degrees.
    assert np.all(result.harmonized["site_shift"] < 3.0 * noise_floor + 1e-12)
    assert result.harmonized["site_gain"] == pytest.approx(result.raw["site_gain"], rel=1e-9)
    assert result.pooled()["destroyed"] == pytest.approx(0.0, abs=1e-9)
    assert result.pooled()["invented"] == pytest.approx(0.0, abs=1e-9)


def test_shrinking_people_to_their_mean_destroys_biology(crossed):
    keep = 0.4
    truth = crossed["truth"]
    harmonized = truth.mean(axis=0) + keep * crossed["centred"]
    result = split(crossed, harmonized)
    energy = np.mean(crossed["centred"] ** 2, axis=0)
    assert result.retained == pytest.approx(keep)
    assert result.harmonized["biology_lost"] == pytest.approx((1 - keep) ** 2 * energy)
    assert result.pooled()["biology_lost_share"] == pytest.approx((1 - keep) ** 2)
    assert result.pooled()["left"] == pytest.approx(0.0, abs=1e-12)
    assert result.pooled()["invented"] <= 1e-12


def test_stretching_people_is_invention_not_loss(crossed):
    harmonized = crossed["truth"].mean(axis=0) + 1.5 * crossed["centred"]
    result = split(crossed, harmonized)
    assert np.all(result.harmonized["biology_lost"] == 0.0)
    assert result.harmonized["biology_inflated"] == pytest.approx(0.25 * result.biology_energy)
    assert result.pooled()["invented"] > 0.0


def test_random_structure_is_invented_and_raw_noise_is_carried(crossed, rng):
    fresh = rng.normal(0.0, 0.5, crossed["raw"].shape)
    result = split(crossed, crossed["raw"] + fresh)
    # Of the fresh variance, the site means, the site slopes and the carry take 1/8 + 1/8 + a little: they
    # are counted as such. 40 draws per feature, 5 features: sd of the mean square 10 %.
    assert result.harmonized["invented"].mean() == pytest.approx(0.25 * (1 - 2 / 8), rel=0.3)
    carried = split(crossed, crossed["raw"]).harmonized["carried"]
    assert carried == pytest.approx(result.raw["carried"])
    assert np.all(split(crossed, crossed["raw"]).harmonized["invented"] < 1e-20)


def nested(rng, *, confounding, n_sites=6, per_site=15, n_features=3):
    site = np.repeat(np.arange(n_sites), per_site)
    people = rng.normal(0.0, 1.0, (site.size, n_features))
    people += confounding * np.linspace(-1, 1, n_sites)[site][:, None]
    shift = rng.normal(0.0, 1.0, (n_sites, n_features))
    raw = people + shift[site]
    return {"raw": raw, "truth": people, "site": site, "subject": np.arange(site.size), "shift": shift}


def remove_site_means(data):
    means = np.stack([data["raw"][data["site"] == j].mean(axis=0) for j in np.unique(data["site"])])
    return data["raw"] - means[data["site"]] + data["raw"].mean(axis=0)


def test_site_means_under_confounding_destroy_biology(rng):
    data = nested(rng, confounding=2.0)
    result = split(data, remove_site_means(data))
    truth = data["truth"]
    between = np.stack([truth[data["site"] == j].mean(axis=0) for j in range(6)]) - truth.mean(axis=0)
    assert result.design == "nested"
    # The whole between-site biology goes (p = 1 exactly), and the overall offset of the sites is what is
    # left.
    assert result.harmonized["biology_lost"] == pytest.approx(np.mean(between**2, axis=0), rel=1e-6)
    offset = data["shift"].mean(axis=0)
    assert result.harmonized["site_shift"] == pytest.approx(offset**2, rel=1e-6)
    assert result.pooled()["destroyed"] > 0.3


def test_identity_and_oracle_are_blameless_under_confounding(rng):
    data = nested(rng, confounding=2.0)
    same = split(data, data["raw"]).pooled()
    assert same["destroyed"] == pytest.approx(0.0, abs=1e-9)
    assert same["fixed"] == pytest.approx(0.0, abs=1e-9)
    oracle = split(data, data["truth"]).pooled()
    assert oracle["gap_closed"] == pytest.approx(1.0)
    assert oracle["destroyed"] == pytest.approx(0.0, abs=1e-9)


def test_nested_terms_add_up_too(rng):
    data = nested(rng, confounding=1.0)
    harmonized = 0.7 * remove_site_means(data) + 0.1 * rng.normal(size=data["raw"].shape)
    result = split(data, harmonized)
    total = sum(result.harmonized[t] for t in TERMS)
    assert total == pytest.approx(mse(harmonized, data["truth"]), rel=1e-9)


def test_one_feature_on_two_sites_cannot_tell_shift_from_biology(rng):
    data = nested(rng, confounding=2.0, n_sites=2, n_features=1)
    result = split(data, remove_site_means(data))
    assert np.all(result.harmonized["site_shift"] == 0.0)
    assert np.all(result.harmonized["confounded"] > 0.0)


def test_features_on_two_sites_tell_it_together(rng):
    """Four features in different units: three equations more than unknowns."""
    data = nested(rng, confounding=2.0, n_sites=2, n_features=4)
    units = np.array([1.0, 1e3, 1e-3, 7.0])
    data = {k: v * units if k in ("raw", "truth", "shift") else v for k, v in data.items()}
    same = split(data, data["raw"]).pooled(weights=units**-2)
    assert [same[k] for k in ("fixed", "destroyed", "confounded")] == pytest.approx([0, 0, 0], abs=1e-9)
    result = split(data, remove_site_means(data))
    truth, site = data["truth"], data["site"]
    between = np.stack([truth[site == j].mean(axis=0) for j in range(2)]) - truth.mean(axis=0)
    # Site means are taken away whole, shift and biology alike: p = 1 but for rounding.
    assert result.harmonized["biology_lost"] == pytest.approx(np.mean(between**2, axis=0), rel=1e-6)
    total = sum(result.harmonized[t] for t in TERMS)
    assert total == pytest.approx(mse(remove_site_means(data), truth), rel=1e-9)


def test_incomplete_travelers_are_left_out_and_counted(crossed):
    keep = np.ones(crossed["site"].size, bool)
    keep[2] = False
    data = {k: v[keep] if k in ("raw", "truth", "site", "subject") else v for k, v in crossed.items()}
    result = split(data, data["raw"])
    assert (result.n_dropped, result.n_subjects, result.design) == (1, N_SUBJECTS - 1, "crossed")


def test_row_order_does_not_matter(crossed, rng):
    order = rng.permutation(crossed["site"].size)
    data = {k: v[order] if k in ("raw", "truth", "site", "subject") else v for k, v in crossed.items()}
    a, b = split(crossed, 0.5 * crossed["raw"]), split(data, 0.5 * data["raw"])
    for term in TERMS:
        assert a.harmonized[term] == pytest.approx(b.harmonized[term], rel=1e-9, abs=1e-12)


def test_refusals(crossed):
    with pytest.raises(ev.MetricInputError, match=r"\(scan, element\)"):
        split(crossed, crossed["raw"][:, :2])
    with pytest.raises(ev.MetricInputError, match="2 subjects seen on every site"):
        ev.dissect(np.ones((4, 1)), np.ones((4, 1)), np.ones((4, 1)), site=[0, 0, 1, 1], subject=[0, 1, 2, 3],
                   design="crossed")  # fmt: skip


def test_table_has_one_row_per_group(crossed):
    table = split(crossed, crossed["raw"], groups=np.array(list("aabbb"))).table()
    assert list(table["group"]) == ["a", "b"]
    assert {"site_shift", "site_shift_raw", "retained", "biology_energy"} <= set(table.columns)


def test_intervals_surround_the_estimate(crossed):
    names = ("raw", "truth", "site", "subject")
    raw, truth, site, subject = (crossed[n] for n in names)
    harmonized = raw - 0.7 * crossed["shift"][site]
    intervals = ev.dissection_intervals(raw, harmonized, truth, site=site, subject=subject)
    answer = split(crossed, harmonized).pooled()
    assert set(intervals) == set(answer)
    assert all(intervals[k][0] == pytest.approx(v, abs=1e-12) for k, v in answer.items())
    assert intervals["fixed"][1] < intervals["fixed"][0] < intervals["fixed"][2]
    same = ev.dissection_intervals(raw, raw, truth, site=site, subject=subject)
    # Identity fixes nothing, whoever is left out.
    assert same["fixed"] == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)


def test_intervals_cover_the_answer_of_many_people(rng):
    shift = rng.normal(0.0, 1.5, (N_SITES, 1))
    gain = np.array([0.8, 0.95, 1.1, 1.2])

    def draw(n):
        people = rng.normal(10.0, 2.0, (n, 1))
        subject, site = np.divmod(np.arange(n * N_SITES), N_SITES)
        centred = people[subject] - 10.0
        raw = 10.0 + shift[site] + gain[site, None] * centred + rng.normal(0.0, 0.2, (site.size, 1))
        harmonized = 10.0 + 0.3 * shift[site] + 0.8 * centred
        labels = {"site": site, "subject": subject}
        return raw, harmonized, people[subject], labels

    raw, harmonized, truth, labels = draw(20_000)
    wanted = ev.dissect(raw, harmonized, truth, **labels).pooled()
    hits = dict.fromkeys(("fixed", "left", "gap_closed"), 0)
    for _ in range(200):
        raw, harmonized, truth, labels = draw(12)
        intervals = ev.dissection_intervals(raw, harmonized, truth, **labels)
        for name in hits:
            hits[name] += intervals[name][1] <= wanted[name] <= intervals[name][2]
    # Binomial sd 0.015; shares of twelve people are skewed, which costs a t interval some per cent.
    assert min(hits.values()) / 200 > 0.85


def test_weights_make_units_irrelevant(crossed):
    units = np.array([1.0, 1e3, 1e-3, 5.0, 20.0])
    scaled = {k: v * units if k in ("raw", "truth") else v for k, v in crossed.items()}
    answers = []
    for data in (crossed, scaled):
        weights = ev.feature_weights(data["truth"], data["subject"])
        answers.append(split(data, 0.5 * data["raw"]).pooled(weights=weights))
    assert answers[0] == pytest.approx(answers[1])


def test_no_module_hides_a_public_name():
    """A module of a function's name would take its place as soon as something imports that module."""
    assert not {module.name for module in pkgutil.iter_modules(ev.__path__)} & set(ev.__all__)
