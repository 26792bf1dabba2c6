"""Retrospective harmonizers: one contract for images and features, equal to reference implementations."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auto_combat import AutoComBat
    from .base import Capabilities, Harmonizer, ImageHarmonizer, NotFittedError, UnseenSiteError
    from .baselines import FeatureResidual, FeatureZScore
    from .bayes_combat import BayesComBat
    from .bias_field import BiasFieldCorrection
    from .checks import CheckResult, ConformanceError, check_harmonizer
    from .combat import ComBat
    from .combat_gam import ComBatGAM
    from .combat_ls import ComBatLS
    from .controls import FeatureIdentity, GaussianBlur, Identity
    from .covbat import CovBat
    from .diffusion import DiffusionHarmonizer
    from .distributed import DistributedComBat
    from .external import ProgramError, run_program
    from .feature_harmonizer import FeatureHarmonizer
    from .gmm_combat import GMMComBat
    from .gradients import GradientError, Gradients, read_gradients
    from .histogram import HistogramMatching, MultiImageCDFAlignment
    from .intensity import MinMax, Nyul, WhiteStripe, ZScore
    from .location_scale import LocationScaleHarmonizer
    from .longitudinal import LongitudinalComBat
    from .m_combat import MComBat
    from .mixed_residual import MixedResidual
    from .mmd_shift import MMDShift
    from .moments import MethodOfMoments
    from .nested_combat import NestedComBat
    from .persistence import HarmonizerFileError, load_harmonizer, save_harmonizer
    from .ravel import Ravel
    from .registry import (
        HarmonizerInfo,
        UnknownHarmonizerError,
        harmonizer,
        harmonizer_class,
        list_harmonizers,
    )
    from .regression import DesignError
    from .relief import Relief
    from .rish import LinearRish, Rish
    from .spectrum import SpectrumSwap
    from .tables import TableInputError
    from .tissue_scaling import FuzzyCMeans, GaussianMixture, KernelDensity, LeastSquares
    from .travelers import TravelerError
    from .traveling_combat import TravelingComBat
    from .traveling_glm import TravelingSubjectGLM
    from .traveling_pairs import TravelingCorrection, TravelingRegression
    from .volumes import ImageInputError, Volume

__all__ = [
    "AutoComBat",
    "BayesComBat",
    "BiasFieldCorrection",
    "Capabilities",
    "CheckResult",
    "ComBat",
    "ComBatGAM",
    "ComBatLS",
    "ConformanceError",
    "CovBat",
    "DesignError",
    "DiffusionHarmonizer",
    "DistributedComBat",
    "FeatureHarmonizer",
    "FeatureIdentity",
    "FeatureResidual",
    "FeatureZScore",
    "FuzzyCMeans",
    "GMMComBat",
    "GaussianBlur",
    "GaussianMixture",
    "GradientError",
    "Gradients",
    "Harmonizer",
    "HarmonizerFileError",
    "HarmonizerInfo",
    "HistogramMatching",
    "Identity",
    "ImageHarmonizer",
    "ImageInputError",
    "KernelDensity",
    "LeastSquares",
    "LinearRish",
    "LocationScaleHarmonizer",
    "LongitudinalComBat",
    "MComBat",
    "MMDShift",
    "MethodOfMoments",
    "MinMax",
    "MixedResidual",
    "MultiImageCDFAlignment",
    "NestedComBat",
    "NotFittedError",
    "Nyul",
    "ProgramError",
    "Ravel",
    "Relief",
    "Rish",
    "SpectrumSwap",
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
    "read_gradients",
    "run_program",
    "save_harmonizer",
]

# Public name -> module; imported on first use, so that reading the package costs nothing.
_HOME = {
    "AutoComBat": "auto_combat",
    "BayesComBat": "bayes_combat",
    "BiasFieldCorrection": "bias_field",
    "Capabilities": "base",
    "CheckResult": "checks",
    "ComBat": "combat",
    "ComBatGAM": "combat_gam",
    "ComBatLS": "combat_ls",
    "ConformanceError": "checks",
    "CovBat": "covbat",
    "DesignError": "regression",
    "DiffusionHarmonizer": "diffusion",
    "DistributedComBat": "distributed",
    "FeatureHarmonizer": "feature_harmonizer",
    "FeatureIdentity": "controls",
    "FeatureResidual": "baselines",
    "FeatureZScore": "baselines",
    "FuzzyCMeans": "tissue_scaling",
    "GMMComBat": "gmm_combat",
    "GaussianBlur": "controls",
    "GaussianMixture": "tissue_scaling",
    "GradientError": "gradients",
    "Gradients": "gradients",
    "Harmonizer": "base",
    "HarmonizerFileError": "persistence",
    "HarmonizerInfo": "registry",
    "HistogramMatching": "histogram",
    "Identity": "controls",
    "ImageHarmonizer": "base",
    "ImageInputError": "volumes",
    "KernelDensity": "tissue_scaling",
    "LeastSquares": "tissue_scaling",
    "LinearRish": "rish",
    "LocationScaleHarmonizer": "location_scale",
    "LongitudinalComBat": "longitudinal",
    "MComBat": "m_combat",
    "MMDShift": "mmd_shift",
    "MethodOfMoments": "moments",
    "MinMax": "intensity",
    "MixedResidual": "mixed_residual",
    "MultiImageCDFAlignment": "histogram",
    "NestedComBat": "nested_combat",
    "NotFittedError": "base",
    "Nyul": "intensity",
    "ProgramError": "external",
    "Ravel": "ravel",
    "Relief": "relief",
    "Rish": "rish",
    "SpectrumSwap": "spectrum",
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
    "read_gradients": "gradients",
    "run_program": "external",
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
