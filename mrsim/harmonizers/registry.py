"""The harmonizers by name. Their modules are imported when a method is asked for, not before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

from .base import Capabilities, Harmonizer, ImageHarmonizer
from .diffusion import DiffusionHarmonizer

HARMONIZERS: Mapping[str, str] = MappingProxyType(
    {
        "auto-combat": "auto_combat:AutoComBat",
        "bayes-combat": "bayes_combat:BayesComBat",
        "bias-field": "bias_field:BiasFieldCorrection",
        "blur": "controls:GaussianBlur",
        "combat": "combat:ComBat",
        "combat-gam": "combat_gam:ComBatGAM",
        "combat-ls": "combat_ls:ComBatLS",
        "covbat": "covbat:CovBat",
        "d-combat": "distributed:DistributedComBat",
        "dwi-moments": "moments:MethodOfMoments",
        "fcm": "tissue_scaling:FuzzyCMeans",
        "feature-identity": "controls:FeatureIdentity",
        "feature-residual": "baselines:FeatureResidual",
        "feature-zscore": "baselines:FeatureZScore",
        "gmm": "tissue_scaling:GaussianMixture",
        "gmm-combat": "gmm_combat:GMMComBat",
        "histogram-matching": "histogram:HistogramMatching",
        "identity": "controls:Identity",
        "kde": "tissue_scaling:KernelDensity",
        "linear-rish": "rish:LinearRish",
        "longitudinal-combat": "longitudinal:LongitudinalComBat",
        "lsq": "tissue_scaling:LeastSquares",
        "m-combat": "m_combat:MComBat",
        "mica": "histogram:MultiImageCDFAlignment",
        "minmax": "intensity:MinMax",
        "mixed-residual": "mixed_residual:MixedResidual",
        "mmd-shift": "mmd_shift:MMDShift",
        "nested-combat": "nested_combat:NestedComBat",
        "nyul": "intensity:Nyul",
        "ravel": "ravel:Ravel",
        "relief": "relief:Relief",
        "rish": "rish:Rish",
        "spectrum-swap": "spectrum:SpectrumSwap",
        "ts-combat": "traveling_combat:TravelingComBat",
        "ts-correction": "traveling_pairs:TravelingCorrection",
        "ts-glm": "traveling_glm:TravelingSubjectGLM",
        "ts-regression": "traveling_pairs:TravelingRegression",
        "whitestripe": "intensity:WhiteStripe",
        "zscore": "intensity:ZScore",
    }
)


class UnknownHarmonizerError(ValueError):
    """No harmonizer of that name is registered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HarmonizerInfo:
    """One line of the list of methods.

    Attributes
    ----------
    name
        Name in the registry.
    kind
        "image", "diffusion" or "feature".
    summary
        One sentence.
    parameters
        Constructor arguments with their defaults.
    capabilities
        What the method declares.
    """

    name: str
    kind: Literal["image", "diffusion", "feature"]
    summary: str
    parameters: Mapping[str, Any]
    capabilities: Capabilities


def harmonizer_class(name: str) -> type[Harmonizer]:
    """Return the class registered under a name.

    Raises
    ------
    UnknownHarmonizerError
        With the nearest known name.
    """
    if name not in HARMONIZERS:
        close = get_close_matches(name, HARMONIZERS, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else "List them with list_harmonizers()."
        raise UnknownHarmonizerError(f"name must be one of {', '.join(HARMONIZERS)}; got '{name}'. {hint}")
    module, _, attribute = HARMONIZERS[name].partition(":")
    found: type[Harmonizer] = getattr(import_module(f".{module}", __package__), attribute)
    return found


def harmonizer(name: str, **params: Any) -> Harmonizer:
    """Build a harmonizer by name, e.g. ``harmonizer("blur", fwhm=6e-3)``.

    Raises
    ------
    UnknownHarmonizerError
        For an unknown name.
    ValueError
        For an unknown parameter.
    """
    return harmonizer_class(name)().set_params(**params)


def list_harmonizers() -> tuple[HarmonizerInfo, ...]:
    """Describe every registered harmonizer, in the order of names."""
    return tuple(_describe(name) for name in HARMONIZERS)


def _describe(name: str) -> HarmonizerInfo:
    cls = harmonizer_class(name)
    return HarmonizerInfo(
        name=name,
        kind=_kind(cls),
        summary=(cls.__doc__ or "").strip().splitlines()[0],
        parameters=cls().get_params(),
        capabilities=cls.capabilities,
    )


def _kind(cls: type[Harmonizer]) -> Literal["image", "diffusion", "feature"]:
    if issubclass(cls, ImageHarmonizer):
        return "image"
    return "diffusion" if issubclass(cls, DiffusionHarmonizer) else "feature"
