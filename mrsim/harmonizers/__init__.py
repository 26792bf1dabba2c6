"""Retrospective harmonizers: one contract for images and features, equal to reference implementations."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import (
        Capabilities,
        FeatureHarmonizer,
        Harmonizer,
        ImageHarmonizer,
        NotFittedError,
        UnseenSiteError,
    )
    from .baselines import FeatureResidual, FeatureZScore
    from .checks import CheckResult, ConformanceError, check_harmonizer
    from .combat import ComBat
    from .controls import FeatureIdentity, GaussianBlur, Identity
    from .intensity import Nyul, WhiteStripe, ZScore
    from .persistence import HarmonizerFileError, load_harmonizer, save_harmonizer
    from .registry import (
        HarmonizerInfo,
        UnknownHarmonizerError,
        harmonizer,
        harmonizer_class,
        list_harmonizers,
    )
    from .regression import DesignError
    from .tables import TableInputError
    from .volumes import ImageInputError, Volume

__all__ = [
    "Capabilities",
    "CheckResult",
    "ComBat",
    "ConformanceError",
    "DesignError",
    "FeatureHarmonizer",
    "FeatureIdentity",
    "FeatureResidual",
    "FeatureZScore",
    "GaussianBlur",
    "Harmonizer",
    "HarmonizerFileError",
    "HarmonizerInfo",
    "Identity",
    "ImageHarmonizer",
    "ImageInputError",
    "NotFittedError",
    "Nyul",
    "TableInputError",
    "UnknownHarmonizerError",
    "UnseenSiteError",
    "Volume",
    "WhiteStripe",
    "ZScore",
    "check_harmonizer",
    "harmonizer",
    "harmonizer_class",
    "list_harmonizers",
    "load_harmonizer",
    "save_harmonizer",
]

# Public name -> module; imported on first use, so that reading the package costs nothing.
_HOME = {
    "Capabilities": "base",
    "CheckResult": "checks",
    "ComBat": "combat",
    "ConformanceError": "checks",
    "DesignError": "regression",
    "FeatureHarmonizer": "base",
    "FeatureIdentity": "controls",
    "FeatureResidual": "baselines",
    "FeatureZScore": "baselines",
    "GaussianBlur": "controls",
    "Harmonizer": "base",
    "HarmonizerFileError": "persistence",
    "HarmonizerInfo": "registry",
    "Identity": "controls",
    "ImageHarmonizer": "base",
    "ImageInputError": "volumes",
    "NotFittedError": "base",
    "Nyul": "intensity",
    "TableInputError": "tables",
    "UnknownHarmonizerError": "registry",
    "UnseenSiteError": "base",
    "Volume": "volumes",
    "WhiteStripe": "intensity",
    "ZScore": "intensity",
    "check_harmonizer": "checks",
    "harmonizer": "registry",
    "harmonizer_class": "registry",
    "list_harmonizers": "registry",
    "load_harmonizer": "persistence",
    "save_harmonizer": "persistence",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mrsim.harmonizers' has no attribute '{name}'")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
