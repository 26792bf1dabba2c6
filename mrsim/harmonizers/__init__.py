"""Retrospective harmonizers: one contract for images and features, equal to reference implementations."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auto_combat import AutoComBat
    from .base import (
        Capabilities,
        Harmonizer,
        ImageHarmonizer,
        NotFittedError,
        UnseenSiteError,
    )
    from .baselines import FeatureResidual, FeatureZScore
    from .bayes_combat import BayesComBat
    from .checks import CheckResult, ConformanceError, check_harmonizer
    from .combat import ComBat
    from .combat_gam import ComBatGAM
    from .combat_ls import ComBatLS
    from .controls import FeatureIdentity, GaussianBlur, Identity
    from .covbat import CovBat
    from .distributed import DistributedComBat
    from .feature_harmonizer import FeatureHarmonizer
    from .gmm_combat import GMMComBat
    from .intensity import Nyul, WhiteStripe, ZScore
    from .location_scale import LocationScaleHarmonizer
    from .longitudinal import LongitudinalComBat
    from .m_combat import MComBat
    from .mixed_residual import MixedResidual
    from .mmd_shift import MMDShift
    from .nested_combat import NestedComBat
    from .persistence import HarmonizerFileError, load_harmonizer, save_harmonizer
    from .registry import (
        HarmonizerInfo,
        UnknownHarmonizerError,
        harmonizer,
        harmonizer_class,
        list_harmonizers,
    )
    from .regression import DesignError
    from .relief import Relief
    from .tables import TableInputError
    from .travelers import TravelerError
    from .traveling_combat import TravelingComBat
    from .traveling_glm import TravelingSubjectGLM
    from .traveling_pairs import TravelingCorrection, TravelingRegression
    from .volumes import ImageInputError, Volume

__all__ = [
    "AutoComBat",
    "BayesComBat",
    "Capabilities",
    "CheckResult",
    "ComBat",
    "ComBatGAM",
    "ComBatLS",
    "ConformanceError",
    "CovBat",
    "DesignError",
    "DistributedComBat",
    "FeatureHarmonizer",
    "FeatureIdentity",
    "FeatureResidual",
    "FeatureZScore",
    "GMMComBat",
    "GaussianBlur",
    "Harmonizer",
    "HarmonizerFileError",
    "HarmonizerInfo",
    "Identity",
    "ImageHarmonizer",
    "ImageInputError",
    "LocationScaleHarmonizer",
    "LongitudinalComBat",
    "MComBat",
    "MMDShift",
    "MixedResidual",
    "NestedComBat",
    "NotFittedError",
    "Nyul",
    "Relief",
    "TableInputError",
    "TravelerError",
    "TravelingComBat",
    "TravelingCorrection",
    "TravelingRegression",
    "TravelingSubjectGLM",
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
    "AutoComBat": "auto_combat",
    "BayesComBat": "bayes_combat",
    "Capabilities": "base",
    "CheckResult": "checks",
    "ComBat": "combat",
    "ComBatGAM": "combat_gam",
    "ComBatLS": "combat_ls",
    "ConformanceError": "checks",
    "CovBat": "covbat",
    "DesignError": "regression",
    "DistributedComBat": "distributed",
    "FeatureHarmonizer": "feature_harmonizer",
    "FeatureIdentity": "controls",
    "FeatureResidual": "baselines",
    "FeatureZScore": "baselines",
    "GMMComBat": "gmm_combat",
    "GaussianBlur": "controls",
    "Harmonizer": "base",
    "HarmonizerFileError": "persistence",
    "HarmonizerInfo": "registry",
    "Identity": "controls",
    "ImageHarmonizer": "base",
    "ImageInputError": "volumes",
    "LocationScaleHarmonizer": "location_scale",
    "LongitudinalComBat": "longitudinal",
    "MComBat": "m_combat",
    "MMDShift": "mmd_shift",
    "MixedResidual": "mixed_residual",
    "NestedComBat": "nested_combat",
    "NotFittedError": "base",
    "Nyul": "intensity",
    "Relief": "relief",
    "TableInputError": "tables",
    "TravelerError": "travelers",
    "TravelingComBat": "traveling_combat",
    "TravelingCorrection": "traveling_pairs",
    "TravelingRegression": "traveling_pairs",
    "TravelingSubjectGLM": "traveling_glm",
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
