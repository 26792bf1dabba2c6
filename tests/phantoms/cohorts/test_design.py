import numpy as np
import pytest

from phantoms import CohortError, CohortSpec, Design, sample_cohort

SITES = ("A", "B", "C", "D")


def eta(values, site):
    """Correlation ratio: square root of the share of the variance that lies between sites."""
    values, site = np.asarray(values, float), np.asarray(site)
    means = [values[site == k].mean() for k in np.unique(site)]
    share = [np.mean(site == k) for k in np.unique(site)]
    return np.sqrt(np.average((np.array(means) - values.mean()) ** 2, weights=share) / values.var())


@pytest.mark.parametrize("sites", [SITES[:2], SITES])
@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_a_cohort_has_the_planted_correlations(sites, r):
    kind = "balanced" if r == 0 else "confounded"
    design = Design(kind=kind, sites=sites, age=r, sex=r, diagnosis=r)
    spec = CohortSpec(n_subjects=800, seed=8, age_range=(55, 90), design=design,
                      diagnoses={"control": 0.5, "mci": 0.2, "ad": 0.3})  # fmt: skip
    people = sample_cohort(spec)
    site = [sites.index(*p.sites) for p in people]
    assert np.bincount(site).tolist() == [800 // len(sites)] * len(sites)
    for values in ([p.age for p in people], [p.sex == "M" for p in people],
                   [p.diagnosis != "control" for p in people]):  # fmt: skip
        # Standard error about (1 - r^2)/sqrt(n) = 0.035; under r = 0 the ratio is up to 0.07.
        assert eta(values, site) == pytest.approx(r, abs=4 * 0.035)
    kinds = [p.diagnosis for p in people if p.diagnosis != "control"]
    # 3 in 5, standard error 0.025.
    assert kinds.count("ad") / len(kinds) == pytest.approx(0.6, abs=4 * 0.025)


@pytest.mark.parametrize("n", [2, 3, 4, 7])
@pytest.mark.parametrize("r", [0.2, 0.5, 0.9])
def test_age_windows_have_the_exact_ratio(n, r):
    design = Design(kind="confounded", sites=tuple("abcdefg"[:n]), age=r)
    windows = np.array([design.age_window(k, 20, 80) for k in range(n)])
    assert windows.min() == pytest.approx(20)
    assert windows.max() == pytest.approx(80)
    between, within = windows.mean(axis=1).var(), (windows[:, 1] - windows[:, 0])[0] ** 2 / 12
    assert np.sqrt(between / (between + within)) == pytest.approx(r, abs=1e-12)


@pytest.mark.parametrize(("n", "p", "r"), [(2, 0.5, 0.9), (4, 0.5, 0.9), (6, 0.4, 0.8), (3, 0.3, 0.4)])
def test_shares_have_the_exact_ratio_and_mean(n, p, r):
    shares = Design(kind="confounded", sites=tuple("abcdef"[:n]), sex=r).shares("sex", p)
    assert shares.mean() == pytest.approx(p, abs=1e-9)
    assert np.sqrt(shares.var() / (p * (1 - p))) == pytest.approx(r, abs=1e-6)
    assert (np.diff(shares) >= 0).all()


def test_what_shares_cannot_reach_is_refused_with_the_limit():
    with pytest.raises(CohortError, match=r"sex = 0.9 is out of reach .* 3 sites: at most 0.816"):
        CohortSpec(n_subjects=5, design=Design(kind="confounded", sites=("a", "b", "c"), sex=0.9))


def test_null_plants_nothing_at_all():
    spec = CohortSpec(n_subjects=300, seed=1, age_range=(55, 90), diagnoses={"control": 0.5, "ad": 0.5},
                      design=Design(kind="null", sites=("a", "b"), age=0.9))  # fmt: skip
    young, old = spec.expected(55, "F", 1.5e-3), spec.expected(90, "M", 1.5e-3, diagnosis="ad")
    assert young == old
    people = sample_cohort(spec)
    # Tissues of a given person do not know the age either: the residual is all there is.
    t1 = [p.scale["wm"]["t1"] for p in people]
    assert abs(np.corrcoef(t1, [p.age for p in people])[0, 1]) < 4 / np.sqrt(300)
    icv = {x: np.mean([p.icv for p in people if p.sex == x]) for x in "FM"}
    assert icv["M"] / icv["F"] == pytest.approx(1.0, abs=4 * 0.09 * 2 / np.sqrt(300))


def test_interaction_changes_the_slope_by_site():
    spec = CohortSpec(n_subjects=2, design=Design(kind="interaction", sites=("a", "b"), interaction=1.0))
    slope = [np.log(spec.expected(70, "F", 1.5e-3, site=k)["thalamus"]
                    / spec.expected(30, "F", 1.5e-3, site=k)["thalamus"]) for k in (0, 1)]  # fmt: skip
    assert slope == pytest.approx([0.5 * -0.16, 1.5 * -0.16])


def test_travelling_people_are_the_same_at_every_site():
    spec = CohortSpec(n_subjects=3, design=Design(kind="traveling", sites=SITES))
    assert all(p.sites == SITES for p in sample_cohort(spec))
    plain = sample_cohort(CohortSpec(n_subjects=3))
    assert [p.volumes for p in plain] == [p.volumes for p in sample_cohort(spec)]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "other"}, "design.kind must be one of"),
        ({"kind": "confounded"}, "design.sites must be two or more"),
        ({"sites": ("a", "a")}, "design.sites must be"),
        ({"sites": ("a", "b"), "age": 0.5}, "design.age must be 0 with kind 'balanced'"),
        ({"kind": "confounded", "sites": ("a", "b"), "age": 0.95}, "design.age must be a correlation"),
        ({"kind": "confounded", "sites": ("a", "b"), "sex": float("nan")}, "design.sex must be a corr"),
        ({"kind": "interaction", "sites": ("a", "b")}, "design.interaction must differ from 0"),
        ({"kind": "unseen", "sites": ("a", "b")}, "design.held_out must name"),
        ({"held_out": "c"}, "design.held_out must name"),
    ],
)  # fmt: skip
def test_bad_designs_are_refused(changes, text):
    with pytest.raises(CohortError, match=text):
        Design(**changes)
