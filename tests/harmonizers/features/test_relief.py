"""RELIEF on planted latent factors."""

import numpy as np
import pytest

from mrsim.harmonizers import Relief
from mrsim.harmonizers.features.relief import _noise_level

from ..planted import cohort, fit


@pytest.fixture(scope="module")
def data():
    return cohort(np.random.default_rng(1), n=(40, 30, 20))


def test_relief_removes_a_latent_factor_of_one_site():
    rng = np.random.default_rng(3)
    site = np.repeat(list("abc"), 60)
    clean = rng.normal(size=(180, 40))
    factor = np.outer(rng.normal(size=180) * (site == "b"), rng.normal(size=40))
    X = clean + 2.0 * factor
    Y = Relief().fit_transform(X, site=site.tolist())
    direction = factor[np.argmax(np.abs(factor).sum(axis=1))]
    direction /= np.linalg.norm(direction)
    excess = [np.var(Z[site == "b"] @ direction) / np.var(Z[site == "a"] @ direction) for Z in (X, Y)]
    # Soft thresholds leave a part: singular values are lowered, not cut.
    assert excess[0] > 50
    assert excess[1] < 0.1 * excess[0]
    # Held-out samples of that site lose the factor too.
    new = rng.normal(size=(200, 40)) + 2.0 * rng.normal(size=(200, 1)) * 3.0 * direction
    fitted = Relief().fit(X, site=site.tolist())
    out = fitted.transform(new, site=["b"] * 200)
    assert np.var(out @ direction) < 0.15 * np.var(new @ direction)


def test_relief_that_does_not_settle(data):
    with pytest.raises(ValueError, match=r"max_iterations must be enough to settle; got 1 "):
        fit(Relief(max_iterations=1), data)


def alternating(X, site, design, rounds=1500):
    """The paper's algorithm as it stands, on one table: plain loops, full singular value decompositions."""
    mean = design @ np.linalg.lstsq(design, X, rcond=None)[0]
    E = X - mean
    labels = np.unique(site)
    for s in labels:
        E[site == s] -= E[site == s].mean(axis=0)
    scale = np.sqrt((E**2).sum(axis=0) / (len(X) - labels.size))
    E /= scale
    noise = {s: _noise_level(E[site == s]) for s in labels}
    sd = np.array([noise[s] for s in site])[:, None]
    E /= sd
    own, root_p = np.zeros_like(E), np.sqrt(X.shape[1])
    for _ in range(rounds):
        U, d, V = np.linalg.svd(E - own, full_matrices=False)
        shared = (U * np.maximum(d - root_p - np.sqrt(len(X)), 0.0)) @ V
        for s in labels:
            U, d, V = np.linalg.svd((E - shared)[site == s], full_matrices=False)
            own[site == s] = (U * np.maximum(d - root_p - np.sqrt((site == s).sum()), 0.0)) @ V
    return mean + scale * (sd * shared + np.sqrt((sd**2).mean()) * (E - shared - own))


@pytest.mark.parametrize("covariates", [(), ("age",), ("age", "group")], ids=len)
def test_composed_maps_equal_the_plain_algorithm(covariates):
    """Strong latent structure, sites of unequal size, with and without covariates; it settles slowly."""
    rng = np.random.default_rng(5)
    data = cohort(rng, n=(60, 35, 20))
    X = data.X + 3.0 * rng.normal(size=(len(data.X), 2)) @ rng.normal(size=(2, 30))
    X[data.site == "b"] += 3.0 * rng.normal(size=(35, 1)) * rng.normal(size=30)
    columns = {name: data.covariates[name] for name in covariates}
    ours = Relief(tolerance=1e-12, max_iterations=5000).fit_transform(
        X, site=data.site.tolist(), covariates=columns or None
    )
    design = np.column_stack([np.ones(len(X)), *columns.values()])
    np.testing.assert_allclose(ours, alternating(X, data.site, design), atol=1e-5)
