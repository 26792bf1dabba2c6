"""Methods with a random intercept per subject on planted repeats."""

import numpy as np
import pandas as pd
import pytest

from mrsim.harmonizers import ComBat, LongitudinalComBat, MixedResidual

from ..planted import cohort, fit


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


def repeated(rng, n_subjects=60, visits=3):
    subject = np.repeat(np.arange(n_subjects), visits)
    site = rng.integers(0, 3, subject.size)
    person = rng.normal(0, 2.0, (n_subjects, 8))
    truth = person[subject] + 0.5 * rng.normal(size=(subject.size, 8))
    shift = rng.normal(0, 1.0, (3, 8))
    return truth + shift[site], truth, np.array(list("abc"))[site], subject


@pytest.mark.parametrize("method", [LongitudinalComBat(), MixedResidual()], ids=str)
def test_subjects_are_not_taken_for_sites(method):
    """Repeated scans: knowing the subject makes site effects several times more precise."""
    X, truth, site, subject = repeated(np.random.default_rng(0))
    Y = method.fit_transform(X, site=site.tolist(), covariates={"subject": subject})
    plain = ComBat(mean_only=True).fit_transform(X, site=site.tolist())

    def error(Z):
        difference = Z - truth
        return np.sqrt(((difference - difference.mean(axis=0)) ** 2).mean())

    assert error(Y) < 0.5 * error(plain)


def test_without_subject_variance_the_mixed_model_is_regression():
    """Subjects that differ less than by chance: the intercept's variance is 0."""
    rng = np.random.default_rng(2)
    subject = np.repeat(np.arange(20), 2)
    site = np.array(list("ab"))[rng.integers(0, 2, 40)]
    X = rng.normal(size=(40, 5))
    X -= np.repeat((X[::2] + X[1::2]) / 2, 2, axis=0)
    mixed = MixedResidual().fit(X, site=site.tolist(), covariates={"subject": subject})
    plain = np.array([X[site == s].mean(axis=0) for s in "ab"])
    expected = plain - np.array([(site == s).mean() for s in "ab"]) @ plain
    np.testing.assert_allclose(mixed.shift_, expected, atol=1e-12)


def test_subject_column_is_asked_for(data):
    with pytest.raises(
        ValueError, match=r"covariates must hold the column 'subject'; got \['age', 'group'\]"
    ):
        fit(LongitudinalComBat(), data)
    with pytest.raises(ValueError, match="subjects with several samples"):
        fit(MixedResidual("person"), data, person=np.arange(len(data.X)))


def test_whole_numbers_name_the_same_subject_as_int_and_float():
    X, _, site, subject = repeated(np.random.default_rng(5))
    fitted = LongitudinalComBat().fit(X, site=site.tolist(), covariates={"subject": subject})
    whole = fitted.transform(X, site=site.tolist(), covariates=pd.DataFrame({"subject": subject}))
    real = fitted.transform(
        X, site=site.tolist(), covariates=pd.DataFrame({"subject": subject.astype(float)})
    )
    np.testing.assert_array_equal(whole, real)
