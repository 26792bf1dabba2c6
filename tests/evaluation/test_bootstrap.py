import numpy as np
import pytest
from scipy import stats

from mrsim import evaluation as ev


def mean(x):
    return x.mean(axis=-1)


def test_same_generator_same_interval(rng):
    x = rng.normal(size=20)
    a, b = (ev.bootstrap_ci(mean, x, rng=np.random.default_rng(3), vectorised=True) for _ in range(2))
    assert a.scalars() == b.scalars()


@pytest.mark.parametrize("method", ["percentile", "bca", "expanded"])
def test_vectorised_equals_loop(method, rng):
    x = rng.exponential(size=12)
    options = {"n_boot": 200, "method": method}
    fast = ev.bootstrap_ci(mean, x, rng=np.random.default_rng(1), vectorised=True, **options)
    slow = ev.bootstrap_ci(mean, x, rng=np.random.default_rng(1), **options)
    assert fast.scalars() == pytest.approx(slow.scalars(), rel=1e-12)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_agrees_with_scipy(method, rng):
    x = rng.exponential(size=25)
    ours = ev.bootstrap_ci(mean, x, rng=rng, n_boot=20_000, method=method, vectorised=True)
    theirs = stats.bootstrap(
        (x,), np.mean, n_resamples=20_000, method=method, rng=np.random.default_rng(8)
    ).confidence_interval
    # Monte Carlo error of a 2.5 % quantile from 20000 replicates: about 1.5 % of the interval's width each.
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_clusters_are_drawn_whole(rng):
    # Ten scans of each of five people who differ, not the scans: the interval must be that of five people.
    people = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    subject = np.repeat(np.arange(5), 10)
    clustered = ev.bootstrap_ci(
        mean, people[subject], rng=rng, clusters=subject, n_boot=4000, vectorised=True
    )
    honest = ev.bootstrap_ci(mean, people, rng=rng, n_boot=4000, vectorised=True)
    naive = ev.bootstrap_ci(mean, people[subject], rng=rng, n_boot=4000, vectorised=True)
    assert clustered.n == 5
    # The distribution is discrete in steps of 0.2.
    assert clustered.low == pytest.approx(honest.low, abs=0.21)
    assert clustered.high - clustered.low > 2.0 * (naive.high - naive.low)


def test_unequal_clusters_need_the_loop(rng):
    subject = np.array([0, 0, 1, 2])
    with pytest.raises(ev.MetricInputError, match="equally many"):
        ev.bootstrap_ci(mean, np.arange(4.0), rng=rng, clusters=subject, vectorised=True)
    assert ev.bootstrap_ci(mean, np.arange(4.0), rng=rng, clusters=subject, n_boot=50).n == 3


def test_array_statistics_and_failed_replicates(rng):
    x = rng.normal(size=(6, 3))
    x[:, 2] = np.nan
    interval = ev.bootstrap_ci(lambda v: v.mean(axis=1), x, rng=rng, n_boot=100, vectorised=True)
    assert interval.low.shape == (3,)
    assert np.all(interval.low[:2] < interval.estimate[:2])
    assert np.isnan(interval.low[2])
    assert interval.n_failed == 100


def test_constant_data_give_a_point(rng):
    for method in ("percentile", "bca", "expanded"):
        interval = ev.bootstrap_ci(mean, np.full(6, 2.0), rng=rng, n_boot=50, method=method, vectorised=True)
        assert interval.scalars() == (2.0, 2.0, 2.0)


def test_refusals(rng):
    with pytest.raises(ev.MetricInputError, match="at least 2 subjects"):
        ev.bootstrap_ci(mean, np.ones(1), rng=rng)
    with pytest.raises(ev.MetricInputError, match="method must be"):
        ev.bootstrap_ci(mean, np.ones(4), rng=rng, method="studentised")
    with pytest.raises(ev.MetricInputError, match="number of rows"):
        ev.bootstrap_ci(lambda a, b: 0.0, np.ones(4), np.ones(5), rng=rng)


def coverage(method, n, draws, rng, n_boot=400):
    hits = 0
    for _ in range(draws):
        x = rng.normal(1.0, 2.0, n)
        i = ev.bootstrap_ci(mean, x, rng=rng, n_boot=n_boot, method=method, vectorised=True)
        hits += bool(i.low <= 1.0 <= i.high)
    return hits / draws


def test_six_subjects_need_the_expanded_interval(rng):
    # Theory for n = 6: percentile about 0.86, expanded near 0.95 (bounded by 400 replicates). Binomial sd
    # with 600 draws: 0.014 and 0.010; three of them.
    assert coverage("percentile", 6, 600, rng) < 0.91
    assert coverage("expanded", 6, 600, rng) > 0.91


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "bca", "expanded"])
def test_coverage_with_forty_subjects(method, rng):
    # 2000 draws: binomial sd 0.005; the methods' own error at n = 40 is about 0.01.
    assert coverage(method, 40, 2000, rng, n_boot=1000) == pytest.approx(0.95, abs=0.025)


def test_jackknife_of_a_mean_is_the_t_interval(rng):
    x = rng.normal(size=9)
    ours = ev.jackknife_ci(np.mean, x)
    low, high = stats.t.interval(0.95, 8, loc=x.mean(), scale=stats.sem(x))
    assert ours.scalars() == pytest.approx((x.mean(), low, high), rel=1e-9)


def test_jackknife_leaves_whole_subjects_out(rng):
    people = rng.normal(size=6)
    clustered = ev.jackknife_ci(np.mean, np.repeat(people, 4), clusters=np.repeat(np.arange(6), 4))
    assert clustered.scalars() == pytest.approx(ev.jackknife_ci(np.mean, people).scalars())
    assert clustered.n == 6
