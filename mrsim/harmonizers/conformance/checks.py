"""Conformance suite: what every harmonizer must keep, whoever wrote it.

``check_harmonizer(h)`` builds small synthetic data of its own and runs every check that applies to the kind
of `h`. A check that a method cannot pass by design is declared in its ``known_exceptions`` with the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from ..base import Harmonizer, ImageHarmonizer, NotFittedError, UnseenSiteError, learned_state
from ..diffusion.diffusion_harmonizer import DiffusionHarmonizer
from ..persistence import load_harmonizer, save_harmonizer
from .bench import Bench
from .bench_diffusion import DiffusionBench
from .bench_features import FeatureBench
from .bench_images import ImageBench
from .evidence import (
    BrokenError,
    NotApplicableError,
    equal,
    frozen,
    message_of,
    require,
    require_close,
    require_named,
    watched_random_state,
)


class ConformanceError(ValueError):
    """A harmonizer breaks the contract; ``results`` holds every check's outcome."""

    def __init__(self, message: str, results: tuple[CheckResult, ...]) -> None:
        super().__init__(message)
        self.results = results


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """Outcome of one check.

    Attributes
    ----------
    name
        Name in :data:`CHECKS`.
    status
        "passed", "failed", "excepted" (fails as declared) or "skipped" (does not apply).
    detail
        Why, unless passed.
    """

    name: str
    status: Literal["passed", "failed", "excepted", "skipped"]
    detail: str = ""


def check_harmonizer(harmonizer: Harmonizer, *, raise_on_failure: bool = True) -> tuple[CheckResult, ...]:
    """Run the conformance suite on clones of `harmonizer`, which itself is left alone.

    Raises
    ------
    ConformanceError
        If a check fails, or a declared exception passes; lists all of them.
    """
    results = tuple(_run(name, harmonizer) for name in CHECKS)
    failed = [r for r in results if r.status == "failed"]
    if failed and raise_on_failure:
        lines = "\n".join(f"  {r.name}: {r.detail}" for r in failed)
        raise ConformanceError(
            f"{type(harmonizer).__name__} must pass every check; got {len(failed)} failed of "
            f"{len(results)}:\n"
            f"{lines}\nRepair it, or declare what it cannot keep in known_exceptions with the reason.",
            results,
        )
    return results


def _run(name: str, harmonizer: Harmonizer) -> CheckResult:
    bench = _bench(harmonizer)
    reason = harmonizer.known_exceptions.get(name)
    try:
        CHECKS[name](bench)
    except NotApplicableError as skip:
        return CheckResult(name=name, status="skipped", detail=str(skip))
    except Exception as error:
        if reason is not None:
            return CheckResult(name=name, status="excepted", detail=reason)
        text = str(error) if isinstance(error, BrokenError) else f"{type(error).__name__}: {error}"
        return CheckResult(name=name, status="failed", detail=text)
    if reason is not None:
        return CheckResult(name=name, status="failed", detail="passes, so remove it from known_exceptions")
    return CheckResult(name=name, status="passed")


def _bench(harmonizer: Harmonizer) -> Bench:
    if isinstance(harmonizer, DiffusionHarmonizer):
        return DiffusionBench(harmonizer)
    return ImageBench(harmonizer) if isinstance(harmonizer, ImageHarmonizer) else FeatureBench(harmonizer)


def check_parameters(bench: Bench) -> None:
    """Check that the constructor stores its arguments unchanged and that fitting keeps them."""
    given = bench.prototype.get_params()
    clone = type(bench.prototype)(**given)
    for name, value in given.items():
        require(getattr(clone, name) is value, f"the constructor changed '{name}'")
    require(not learned_state(clone), "the constructor set attributes that end with an underscore")
    before = clone.get_params()
    require(clone.set_params(**before) is clone, "set_params must return the harmonizer")
    require(bench.fit(clone) is clone, "fit must return the harmonizer")
    require(clone.get_params() == before, "fit changed constructor parameters")
    require(bool(learned_state(clone)), "fit learned nothing: set at least sites_")
    message = message_of(
        lambda: clone.set_params(no_such_parameter=1), ValueError, "set_params with an unknown name"
    )
    require_named(message, "no_such_parameter")


def check_not_fitted(bench: Bench) -> None:
    """Check that using an unfitted harmonizer raises NotFittedError and says to call fit."""
    message = message_of(lambda: bench.outputs(bench.fresh()), NotFittedError, "transform before fit")
    require_named(message, "fit")


def check_input_untouched(bench: Bench) -> None:
    """Check that fit and transform leave their input alone and the output shares no memory with it."""
    before = bench.fingerprint()
    fitted = bench.fit(bench.fresh())
    require(bench.fingerprint() == before, "fit changed its input")
    outputs = bench.outputs(fitted)
    require(bench.fingerprint() == before, "transform changed its input")
    shared = any(np.shares_memory(a, b) for a, b in zip(outputs, bench.inputs(), strict=True))
    require(not shared, "the output shares memory with the input, so changing one changes the other")


def check_deterministic(bench: Bench) -> None:
    """Check that the same input gives the same bits, and that numpy's global random state is left alone."""
    first = bench.outputs(bench.fit(bench.fresh()))
    with watched_random_state() as moved:
        fitted = bench.fit(bench.fresh())
        second, third = bench.outputs(fitted), bench.outputs(fitted)
    require(equal(first, second), "two fits on the same data gave different results")
    require(equal(second, third), "two transforms of the same data gave different results")
    require(not moved, "numpy's global random state was used: take a Generator or a seed instead")


def check_sample_order(bench: Bench) -> None:
    """Check that the order of samples in fit changes nothing beyond rounding."""
    straight = bench.outputs(bench.fit(bench.fresh()))
    shuffled = bench.outputs(bench.fit(bench.fresh(), order=bench.other_order))
    require_close(straight, shuffled, bench.tolerance, "the order of samples in fit changes the result")


def check_no_leakage(bench: Bench) -> None:
    """Check that transform teaches nothing: not the state, not later transforms, not later fits."""
    fitted = bench.fit(bench.fresh())
    state, expected = frozen(learned_state(fitted)), bench.outputs(fitted)
    bench.outputs(fitted, gain=3.0)
    require(frozen(learned_state(fitted)) == state, "transform changed learned attributes")
    require(equal(bench.outputs(fitted), expected), "transform changed what later transforms return")
    singles = bench.outputs(fitted, one_by_one=True)
    require_close(
        expected, singles, bench.tolerance, "a sample's result depends on the others in the same transform"
    )
    again = bench.outputs(bench.fit(fitted))
    require(equal(again, expected), "fitting again after transform differs from a fresh fit")


def check_one_site(bench: Bench) -> None:
    """Check that, fitted on a single site, the method returns its input (where declared)."""
    if not bench.prototype.declared().one_site_identity:
        raise NotApplicableError("one_site_identity is not declared")
    fitted = bench.fit(bench.fresh(), one_site=True)
    pairs = bench.outputs(fitted, one_site=True), bench.inputs(one_site=True)
    require_close(*pairs, bench.tolerance, "fitted on one site, the output differs from the input")


def check_units(bench: Bench) -> None:
    """Check that a gain on the data does what the capabilities declare."""
    scaling = bench.prototype.declared().scaling
    if scaling == "none":
        raise NotApplicableError("no behaviour under scaling is declared")
    fitted = bench.fit(bench.fresh())
    expected = bench.outputs(fitted)
    for gain in (1e-3, 1e3):
        if scaling == "invariant":
            scaled = bench.outputs(fitted, gain=gain)
        else:
            scaled = [a / gain for a in bench.outputs(bench.fit(bench.fresh(), gain=gain), gain=gain)]
        # Rounding of scaled data may move a sample across a histogram cell: a hundred times plain rounding.
        require_close(
            expected, scaled, 100 * bench.tolerance, f"scaling by {gain:g} is not {scaling} as declared"
        )


def check_geometry(bench: Bench) -> None:
    """Check shape, affine, header geometry and output type (images float32, features float64)."""
    problem = bench.geometry_problem(bench.fit(bench.fresh()))
    require(problem is None, str(problem))


def check_nan_policy(bench: Bench) -> None:
    """Check that non-finite input is refused with a message or left in place, as declared."""
    fitted = bench.fit(bench.fresh())
    if bench.prototype.declared().nan_policy == "raise":
        message = message_of(
            lambda: bench.transform_nan(fitted), ValueError, "a NaN in the input of transform"
        )
        require_named(message, bench.argument)
        return
    given, output = bench.transform_nan(fitted)
    require(np.array_equal(np.isnan(given), np.isnan(output)), "NaN did not stay where it was")


def check_unseen_site(bench: Bench) -> None:
    """Check that a site unknown to fit is handled or refused by name, as declared."""
    fitted = bench.fit(bench.fresh())
    if bench.prototype.declared().handles_unseen_site:
        state = frozen(learned_state(fitted))
        outputs = bench.outputs(fitted, site="elsewhere")
        require(frozen(learned_state(fitted)) == state, "an unseen site changed learned attributes")
        require(all(np.isfinite(a).all() for a in outputs), "an unseen site gave non-finite values")
        return
    message = message_of(lambda: bench.outputs(fitted, site="elsewhere"), UnseenSiteError, "an unseen site")
    require_named(message, "elsewhere")


def check_errors(bench: Bench) -> None:
    """Check that bad input is refused with a message that names the argument and says what to do."""
    for label, argument, call in bench.mistakes():
        require_named(message_of(call, ValueError, label), argument)
    for label, argument, call in bench.hard_cases():
        try:
            finite = all(np.isfinite(a).all() for a in call())
        except ValueError as error:
            require_named(str(error), argument)
        else:
            require(finite, f"{label} gave non-finite values instead of an error")


def check_streaming(bench: Bench) -> None:
    """Check that fit works on a sequence that loads when asked, and does not keep the images."""
    if not isinstance(bench, ImageBench):
        raise NotApplicableError("features come as one table")
    fitted, most_alive = bench.fit_lazily(bench.fresh())
    require(equal(bench.outputs(fitted), bench.outputs(bench.fit(bench.fresh()))), "lazy fit differs")
    # One in use, one just loaded.
    require(most_alive <= 2, f"fit held {most_alive} images at once, so memory grows with the cohort")


def check_save_load(bench: Bench) -> None:
    """Check that a saved and loaded harmonizer has the same parameters and state and gives the same bits."""
    fitted = bench.fit(bench.fresh())
    with tempfile.TemporaryDirectory() as folder:
        path = save_harmonizer(Path(folder) / "fitted.json", fitted)
        loaded = load_harmonizer(path, classes=[type(fitted)])
    require(loaded.get_params() == fitted.get_params(), "parameters changed in the file")
    require(
        frozen(learned_state(loaded)) == frozen(learned_state(fitted)),
        "learned attributes changed in the file",
    )
    require(equal(bench.outputs(loaded), bench.outputs(fitted)), "the loaded harmonizer gives other results")


CHECKS: Mapping[str, Callable[[Bench], None]] = MappingProxyType(
    {
        "parameters": check_parameters,
        "not_fitted": check_not_fitted,
        "input_untouched": check_input_untouched,
        "deterministic": check_deterministic,
        "sample_order": check_sample_order,
        "no_leakage": check_no_leakage,
        "one_site": check_one_site,
        "units": check_units,
        "geometry": check_geometry,
        "nan_policy": check_nan_policy,
        "unseen_site": check_unseen_site,
        "errors": check_errors,
        "streaming": check_streaming,
        "save_load": check_save_load,
    }
)
