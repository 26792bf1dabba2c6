"""The conformance suite passes every registered method and catches harmonizers that are broken on purpose."""

from types import MappingProxyType

import pytest
from sklearn.base import clone

from mrsim.harmonizers import (
    AutoComBat,
    ComBat,
    ComBatGAM,
    ComBatLS,
    ConformanceError,
    CovBat,
    GaussianBlur,
    GMMComBat,
    HistogramMatching,
    MMDShift,
    MultiImageCDFAlignment,
    NestedComBat,
    Nyul,
    Ravel,
    Rish,
    TravelingCorrection,
    TravelingRegression,
    TravelingSubjectGLM,
    WhiteStripe,
    check_harmonizer,
    harmonizer,
    list_harmonizers,
)
from mrsim.harmonizers.conformance.checks import CHECKS

from .broken import BROKEN, MeanScaler, NoisyImage, OrderDependentImage, SiteMeans

# Fewer sweeps than a study would use: the rules are the same for any number.
QUICK = {"bayes-combat": {"draws": 20, "warmup": 10}}
REGISTERED = [harmonizer(info.name, **QUICK.get(info.name, {})) for info in list_harmonizers()]
VARIANTS = [
    ComBat(unseen_site="raise"),
    ComBat(parametric=False),
    ComBat(mean_only=True),
    ComBat(empirical_bayes=False),
    ComBat(reference_site="north"),
    ComBat(constant_features="keep"),
    ComBatGAM("age", n_basis=6),
    ComBatGAM("age", n_basis=6, basis="thin_plate", penalty="reml"),
    ComBatGAM(("age",), n_basis=6, penalty=1.0, reference_site="north"),
    ComBatLS(mean_only=True),
    CovBat(n_components=3),
    CovBat(smooth="age", reference_site="north", explained=0.8),
    GMMComBat("protect"),
    NestedComBat("kernel", order="optimal"),
    NestedComBat(["kernel", "vendor"], order="given"),
    AutoComBat("echo_time", n_clusters=2),
    MMDShift(reference_site="north", scale=False),
    TravelingSubjectGLM("person", participants="random"),
    TravelingSubjectGLM(ridge=1.0),
    TravelingCorrection(reference_site="north"),
    TravelingRegression(reference_site="north", slope="orthogonal"),
    WhiteStripe(contrast="T2w"),
    WhiteStripe(contrast="PDw", width=0.1),
    Nyul(percentile_step=20.0),
    GaussianBlur(fwhm=12e-3),
    HistogramMatching(reference_site="north", n_quantiles=33),
    MultiImageCDFAlignment(reference_site="north"),
    Ravel(n_factors=2, membership=0.9),
    Rish(reference_site="north", sh_order=4, keep_residual=False),
]


@pytest.mark.parametrize("method", [*REGISTERED, *VARIANTS], ids=repr)
def test_methods_conform(method):
    results = check_harmonizer(method)
    assert [r.name for r in results] == list(CHECKS)
    assert {r.status for r in results} <= {"passed", "skipped"}
    assert not method.is_fitted()


@pytest.mark.parametrize("method", [*REGISTERED, *VARIANTS], ids=repr)
def test_sklearn_clone(method):
    copy = clone(method)
    assert type(copy) is type(method)
    assert copy.get_params() == method.get_params()


@pytest.mark.parametrize("method", [MeanScaler(), SiteMeans()], ids=repr)
def test_the_sound_examples_conform(method):
    check_harmonizer(method)


@pytest.mark.parametrize(("cls", "expected"), BROKEN, ids=[c.__name__ for c, _ in BROKEN])
def test_broken_harmonizers_are_caught(cls, expected):
    with pytest.raises(ConformanceError) as caught:
        check_harmonizer(cls())
    failed = {r.name for r in caught.value.results if r.status == "failed"}
    assert expected <= failed
    assert all(name in str(caught.value) for name in failed)


def test_a_declared_exception_is_reported_with_its_reason():
    class FirstImage(OrderDependentImage):
        known_exceptions = MappingProxyType({"sample_order": "the first image is the template by definition"})

    excepted = [r for r in check_harmonizer(FirstImage()) if r.status == "excepted"]
    assert [(r.name, r.detail) for r in excepted] == [
        ("sample_order", "the first image is the template by definition")
    ]


def test_an_exception_that_is_not_needed_fails():
    class Modest(MeanScaler):
        known_exceptions = MappingProxyType({"units": "thought to depend on units"})

    with pytest.raises(ConformanceError, match="units: passes, so remove it"):
        check_harmonizer(Modest())


def test_results_without_raising():
    results = check_harmonizer(NoisyImage(), raise_on_failure=False)
    assert any(r.status == "failed" for r in results)
