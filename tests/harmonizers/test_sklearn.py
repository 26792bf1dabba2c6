"""Harmonizers inside scikit-learn: pipelines, cross-validation and searches pass site and covariates on."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mrsim.harmonizers import ComBat, FeatureIdentity, LongitudinalComBat

from .planted import cohort


@pytest.fixture(autouse=True)
def _routing():
    with config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(11), n=(40, 40, 40))


@pytest.fixture(scope="module")
def metadata(data):
    return {"site": data.site, "covariates": pd.DataFrame({"group": data.group})}


def test_pipeline_equals_the_steps_by_hand(data, metadata):
    pipeline = make_pipeline(ComBat(), StandardScaler(), Ridge())
    pipeline.fit(data.X, data.age, **metadata)
    combat = ComBat().fit(data.X, **metadata)
    scaler = StandardScaler().fit(combat.transform(data.X, **metadata))
    by_hand = Ridge().fit(scaler.transform(combat.transform(data.X, **metadata)), data.age)
    expected = by_hand.predict(scaler.transform(combat.transform(data.X[:7], **rows(metadata, slice(7)))))
    found = pipeline.predict(data.X[:7], **rows(metadata, slice(7)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def rows(metadata, which):
    return {"site": metadata["site"][which], "covariates": metadata["covariates"].iloc[which]}


def test_cross_validation_fits_on_training_folds_only(data, metadata):
    """The folds' scores equal those of a loop that never shows the held-out rows to fit."""
    folds = KFold(4, shuffle=True, random_state=0)
    found = cross_validate(
        make_pipeline(ComBat(), Ridge()), data.X, data.age, cv=folds, params=metadata, error_score="raise"
    )["test_score"]
    expected = []
    for train, test in folds.split(data.X):
        combat = ComBat().fit(data.X[train], **rows(metadata, train))
        model = Ridge().fit(combat.transform(data.X[train], **rows(metadata, train)), data.age[train])
        expected.append(model.score(combat.transform(data.X[test], **rows(metadata, test)), data.age[test]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_leave_one_site_out_needs_unseen_sites(data, metadata):
    folds = GroupKFold(3)
    params = {**metadata, "groups": data.site}
    scored = cross_val_score(
        make_pipeline(ComBat(), Ridge()), data.X, data.age, cv=folds, params=params, error_score="raise"
    )
    assert np.isfinite(scored).all()
    with pytest.raises(ValueError, match="site must be one that fit has seen"):
        cross_val_score(
            make_pipeline(ComBat(unseen_site="raise"), Ridge()),
            data.X,
            data.age,
            cv=folds,
            params=params,
            error_score="raise",
        )


def test_grid_search_over_parameters(data, metadata):
    pipeline = make_pipeline(ComBat(), Ridge())
    search = GridSearchCV(pipeline, {"combat__mean_only": [False, True]}, cv=3, error_score="raise")
    search.fit(data.X, data.age, **metadata)
    assert search.best_params_["combat__mean_only"] in (False, True)
    assert search.best_estimator_[0].is_fitted()


def test_clone_forgets_what_was_learned(data, metadata):
    fitted = ComBat(mean_only=True).fit(data.X, **metadata)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not copy.is_fitted()


def test_named_columns_travel_with_the_covariates(data):
    frame = pd.DataFrame({"subject": np.arange(120) // 3, "age": data.age})
    pipeline = make_pipeline(LongitudinalComBat(), Ridge())
    pipeline.fit(data.X, data.age, site=data.site, covariates=frame)
    assert np.isfinite(pipeline.predict(data.X, site=data.site, covariates=frame)).all()


def test_control_in_the_same_place(data, metadata):
    scored = cross_val_score(
        make_pipeline(FeatureIdentity(), Ridge()), data.X, data.age, cv=3, params=metadata
    )
    assert np.isfinite(scored).all()
