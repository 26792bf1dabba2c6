"""The harmonizers by name. Their modules are imported when a method is asked for, not before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

from .base import Capabilities, Harmonizer, ImageHarmonizer
from .diffusion.diffusion_harmonizer import DiffusionHarmonizer

HARMONIZERS: Mapping[str, str] = MappingProxyType(
    {
        "auto-combat": "features.auto_combat:AutoComBat",
        "bayes-combat": "features.bayes_combat:BayesComBat",
        "bias-field": "images.bias_field:BiasFieldCorrection",
        "blur": "controls:GaussianBlur",
        "combat": "features.combat:ComBat",
        "combat-gam": "features.combat_gam:ComBatGAM",
        "combat-ls": "features.combat_ls:ComBatLS",
        "covbat": "features.covbat:CovBat",
        "d-combat": "features.distributed:DistributedComBat",
        "dwi-moments": "diffusion.moments:MethodOfMoments",
        "fcm": "images.tissue_scaling:FuzzyCMeans",
        "feature-identity": "controls:FeatureIdentity",
        "feature-residual": "features.baselines:FeatureResidual",
        "feature-zscore": "features.baselines:FeatureZScore",
        "gmm": "images.tissue_scaling:GaussianMixture",
        "gmm-combat": "features.gmm_combat:GMMComBat",
        "histogram-matching": "images.histogram:HistogramMatching",
        "identity": "controls:Identity",
        "kde": "images.tissue_scaling:KernelDensity",
        "linear-rish": "diffusion.rish:LinearRish",
        "longitudinal-combat": "features.longitudinal:LongitudinalComBat",
        "lsq": "images.tissue_scaling:LeastSquares",
        "m-combat": "features.m_combat:MComBat",
        "mica": "images.histogram:MultiImageCDFAlignment",
        "minmax": "images.intensity:MinMax",
        "mixed-residual": "features.mixed_residual:MixedResidual",
        "mmd-shift": "features.mmd_shift:MMDShift",
        "nested-combat": "features.nested_combat:NestedComBat",
        "nyul": "images.intensity:Nyul",
        "ravel": "images.ravel:Ravel",
        "relief": "features.relief:Relief",
        "rish": "diffusion.rish:Rish",
        "spectrum-swap": "images.spectrum:SpectrumSwap",
        "ts-combat": "traveling.traveling_combat:TravelingComBat",
        "ts-correction": "traveling.traveling_pairs:TravelingCorrection",
        "ts-glm": "traveling.traveling_glm:TravelingSubjectGLM",
        "ts-regression": "traveling.traveling_pairs:TravelingRegression",
        "whitestripe": "images.intensity:WhiteStripe",
        "zscore": "images.intensity:ZScore",
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
