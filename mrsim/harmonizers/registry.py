"""The harmonizers by name. Their modules are imported when a method is asked for, not before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

from .base import Capabilities, Harmonizer, ImageHarmonizer

HARMONIZERS: Mapping[str, str] = MappingProxyType(
    {
        "auto-combat": "auto_combat:AutoComBat",
        "bayes-combat": "bayes_combat:BayesComBat",
        "blur": "controls:GaussianBlur",
        "combat": "combat:ComBat",
        "combat-gam": "combat_gam:ComBatGAM",
        "combat-ls": "combat_ls:ComBatLS",
        "covbat": "covbat:CovBat",
        "d-combat": "distributed:DistributedComBat",
        "feature-identity": "controls:FeatureIdentity",
        "feature-residual": "baselines:FeatureResidual",
        "feature-zscore": "baselines:FeatureZScore",
        "gmm-combat": "gmm_combat:GMMComBat",
        "identity": "controls:Identity",
        "longitudinal-combat": "longitudinal:LongitudinalComBat",
        "m-combat": "m_combat:MComBat",
        "mixed-residual": "mixed_residual:MixedResidual",
        "mmd-shift": "mmd_shift:MMDShift",
        "nested-combat": "nested_combat:NestedComBat",
        "nyul": "intensity:Nyul",
        "relief": "relief:Relief",
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
        "image" or "feature".
    summary
        One sentence.
    parameters
        Constructor arguments with their defaults.
    capabilities
        What the method declares.
    """

    name: str
    kind: Literal["image", "feature"]
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
        kind="image" if issubclass(cls, ImageHarmonizer) else "feature",
        summary=(cls.__doc__ or "").strip().splitlines()[0],
        parameters=cls().get_params(),
        capabilities=cls.capabilities,
    )
