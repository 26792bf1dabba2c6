"""Retrospective harmonizers: one contract for images and features, equal to reference implementations."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Capabilities, Harmonizer, ImageHarmonizer, NotFittedError, UnseenSiteError
    from .conformance.checks import CheckResult, ConformanceError, check_harmonizer
    from .controls import FeatureIdentity, GaussianBlur, Identity
    from .diffusion.diffusion_harmonizer import DiffusionHarmonizer
    from .diffusion.gradients import GradientError, Gradients, read_gradients
    from .diffusion.moments import MethodOfMoments
    from .diffusion.rish import LinearRish, Rish
    from .external import ProgramError, run_program
    from .features.auto_combat import AutoComBat
    from .features.baselines import FeatureResidual, FeatureZScore
    from .features.bayes_combat import BayesComBat
    from .features.combat import ComBat
    from .features.combat_gam import ComBatGAM
    from .features.combat_ls import ComBatLS
    from .features.covbat import CovBat
    from .features.distributed import DistributedComBat
    from .features.feature_harmonizer import FeatureHarmonizer
    from .features.gmm_combat import GMMComBat
    from .features.location_scale import LocationScaleHarmonizer
    from .features.longitudinal import LongitudinalComBat
    from .features.m_combat import MComBat
    from .features.mixed_residual import MixedResidual
    from .features.mmd_shift import MMDShift
    from .features.nested_combat import NestedComBat
    from .features.relief import Relief
    from .images.bias_field import BiasFieldCorrection
    from .images.histogram import HistogramMatching, MultiImageCDFAlignment
    from .images.intensity import MinMax, Nyul, WhiteStripe, ZScore
    from .images.ravel import Ravel
    from .images.spectrum import SpectrumSwap
    from .images.tissue_scaling import FuzzyCMeans, GaussianMixture, KernelDensity, LeastSquares
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
    from .traveling.travelers import TravelerError
    from .traveling.traveling_combat import TravelingComBat
    from .traveling.traveling_glm import TravelingSubjectGLM
    from .traveling.traveling_pairs import TravelingCorrection, TravelingRegression
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
    "AutoComBat": "features.auto_combat",
    "BayesComBat": "features.bayes_combat",
    "BiasFieldCorrection": "images.bias_field",
    "Capabilities": "base",
    "CheckResult": "conformance.checks",
    "ComBat": "features.combat",
    "ComBatGAM": "features.combat_gam",
    "ComBatLS": "features.combat_ls",
    "ConformanceError": "conformance.checks",
    "CovBat": "features.covbat",
    "DesignError": "regression",
    "DiffusionHarmonizer": "diffusion.diffusion_harmonizer",
    "DistributedComBat": "features.distributed",
    "FeatureHarmonizer": "features.feature_harmonizer",
    "FeatureIdentity": "controls",
    "FeatureResidual": "features.baselines",
    "FeatureZScore": "features.baselines",
    "FuzzyCMeans": "images.tissue_scaling",
    "GMMComBat": "features.gmm_combat",
    "GaussianBlur": "controls",
    "GaussianMixture": "images.tissue_scaling",
    "GradientError": "diffusion.gradients",
    "Gradients": "diffusion.gradients",
    "Harmonizer": "base",
    "HarmonizerFileError": "persistence",
    "HarmonizerInfo": "registry",
    "HistogramMatching": "images.histogram",
    "Identity": "controls",
    "ImageHarmonizer": "base",
    "ImageInputError": "volumes",
    "KernelDensity": "images.tissue_scaling",
    "LeastSquares": "images.tissue_scaling",
    "LinearRish": "diffusion.rish",
    "LocationScaleHarmonizer": "features.location_scale",
    "LongitudinalComBat": "features.longitudinal",
    "MComBat": "features.m_combat",
    "MMDShift": "features.mmd_shift",
    "MethodOfMoments": "diffusion.moments",
    "MinMax": "images.intensity",
    "MixedResidual": "features.mixed_residual",
    "MultiImageCDFAlignment": "images.histogram",
    "NestedComBat": "features.nested_combat",
    "NotFittedError": "base",
    "Nyul": "images.intensity",
    "ProgramError": "external",
    "Ravel": "images.ravel",
    "Relief": "features.relief",
    "Rish": "diffusion.rish",
    "SpectrumSwap": "images.spectrum",
    "TableInputError": "tables",
    "TravelerError": "traveling.travelers",
    "TravelingComBat": "traveling.traveling_combat",
    "TravelingCorrection": "traveling.traveling_pairs",
    "TravelingRegression": "traveling.traveling_pairs",
    "TravelingSubjectGLM": "traveling.traveling_glm",
    "UnknownHarmonizerError": "registry",
    "UnseenSiteError": "base",
    "Volume": "volumes",
    "WhiteStripe": "images.intensity",
    "ZScore": "images.intensity",
    "check_harmonizer": "conformance.checks",
    "harmonizer": "registry",
    "harmonizer_class": "registry",
    "list_harmonizers": "registry",
    "load_harmonizer": "persistence",
    "read_gradients": "diffusion.gradients",
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
