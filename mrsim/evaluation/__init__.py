"""Scores of harmonizers against a known truth.

Plain functions on arrays with masks, tidy tables and site labels; the truth comes in as data. Modules load on
first use, so that importing this package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attribution import Attribution, Coalition, Game, attribute, plan_game
    from .biology import (
        Rate,
        Slopes,
        age_recovery,
        age_slopes,
        false_positive_rate,
        identification_rate,
        invented_effect_rate,
        rank_correlation,
        subject_means,
        volume_errors,
    )
    from .bootstrap import Interval, bootstrap_ci, jackknife_ci, resample_indices
    from .descriptors import descriptor_matrix, image_descriptors, mask_descriptors
    from .diagnosis import diagnosis_recovery
    from .dissection import Dissection, dissect
    from .dissection_jackknife import dissection_intervals, feature_weights
    from .echo_trains import echo_train, fit_t2_echo_train
    from .flip_maps import actual_flip_b1, double_angle_b1
    from .image_dissection import Bands, ReducedSet, dissect_images, make_bands, match_set, reduce_images
    from .image_metrics import (
        IntensityMatch,
        correlation,
        image_errors,
        mae,
        match_intensity,
        nrmse,
        psnr,
        reference_range,
        rmse,
        ssim,
    )
    from .image_structure import (
        contrast_error,
        edge_energy,
        power_spectrum,
        power_spectrum_ratio,
        structure_scores,
        tissue_contrast,
        tissue_values,
    )
    from .inputs import MetricInputError
    from .ladder import site_effect_ladder
    from .regions import (
        align_to_mask,
        boundary_width,
        label_regions,
        mean_thickness,
        regional_intensities,
        regional_volumes,
        scan_features,
    )
    from .relaxometry import (
        RelaxationFit,
        fit_exponential,
        fit_inversion_recovery,
        fit_vfa,
        fit_vfa_linear,
        inversion_signal,
        spoiled_signal,
        vfa_precision,
    )
    from .segmentation import Segmentation, SegmentationOptions, segment, smooth_priors
    from .site_probe import (
        ProbeOptions,
        ProbeResult,
        balanced_accuracy,
        demographics_matrix,
        frozen_probe,
        probe_site,
    )
    from .tables import METRICS, Metric, Score, ScoreError, make_score, scores_table, write_table
    from .variance import (
        BlandAltman,
        VarianceComponents,
        bland_altman,
        crossed_matrix,
        icc,
        scan_rescan_cov,
        variance_components,
        variance_table,
        within_subject_cov,
    )

_NAMES = {
    "attribution": "Attribution Coalition Game attribute plan_game",
    "biology": "Rate Slopes age_recovery age_slopes false_positive_rate identification_rate "
    "invented_effect_rate rank_correlation subject_means volume_errors",
    "bootstrap": "Interval bootstrap_ci jackknife_ci resample_indices",
    "descriptors": "descriptor_matrix image_descriptors mask_descriptors",
    "diagnosis": "diagnosis_recovery",
    "dissection": "Dissection dissect",
    "echo_trains": "echo_train fit_t2_echo_train",
    "flip_maps": "actual_flip_b1 double_angle_b1",
    "dissection_jackknife": "dissection_intervals feature_weights",
    "image_dissection": "Bands ReducedSet dissect_images make_bands match_set reduce_images",
    "image_metrics": "IntensityMatch correlation image_errors mae match_intensity nrmse psnr "
    "reference_range rmse ssim",
    "image_structure": "contrast_error edge_energy power_spectrum power_spectrum_ratio structure_scores "
    "tissue_contrast tissue_values",
    "inputs": "MetricInputError",
    "ladder": "site_effect_ladder",
    "regions": "align_to_mask boundary_width label_regions mean_thickness regional_intensities "
    "regional_volumes scan_features",
    "relaxometry": "RelaxationFit fit_exponential fit_inversion_recovery fit_vfa fit_vfa_linear "
    "inversion_signal spoiled_signal vfa_precision",
    "segmentation": "Segmentation SegmentationOptions segment smooth_priors",
    "site_probe": "ProbeOptions ProbeResult balanced_accuracy demographics_matrix frozen_probe probe_site",
    "tables": "METRICS Metric Score ScoreError make_score scores_table write_table",
    "variance": "BlandAltman VarianceComponents bland_altman crossed_matrix icc scan_rescan_cov "
    "variance_components variance_table within_subject_cov",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "METRICS",
    "Attribution",
    "Bands",
    "BlandAltman",
    "Coalition",
    "Dissection",
    "Game",
    "IntensityMatch",
    "Interval",
    "Metric",
    "MetricInputError",
    "ProbeOptions",
    "ProbeResult",
    "Rate",
    "ReducedSet",
    "RelaxationFit",
    "Score",
    "ScoreError",
    "Segmentation",
    "SegmentationOptions",
    "Slopes",
    "VarianceComponents",
    "actual_flip_b1",
    "age_recovery",
    "age_slopes",
    "align_to_mask",
    "attribute",
    "balanced_accuracy",
    "bland_altman",
    "bootstrap_ci",
    "boundary_width",
    "contrast_error",
    "correlation",
    "crossed_matrix",
    "demographics_matrix",
    "descriptor_matrix",
    "diagnosis_recovery",
    "dissect",
    "dissect_images",
    "dissection_intervals",
    "double_angle_b1",
    "echo_train",
    "edge_energy",
    "false_positive_rate",
    "feature_weights",
    "fit_exponential",
    "fit_inversion_recovery",
    "fit_t2_echo_train",
    "fit_vfa",
    "fit_vfa_linear",
    "frozen_probe",
    "icc",
    "identification_rate",
    "image_descriptors",
    "image_errors",
    "invented_effect_rate",
    "inversion_signal",
    "jackknife_ci",
    "label_regions",
    "mae",
    "make_bands",
    "make_score",
    "mask_descriptors",
    "match_intensity",
    "match_set",
    "mean_thickness",
    "nrmse",
    "plan_game",
    "power_spectrum",
    "power_spectrum_ratio",
    "probe_site",
    "psnr",
    "rank_correlation",
    "reduce_images",
    "reference_range",
    "regional_intensities",
    "regional_volumes",
    "resample_indices",
    "rmse",
    "scan_features",
    "scan_rescan_cov",
    "scores_table",
    "segment",
    "site_effect_ladder",
    "smooth_priors",
    "spoiled_signal",
    "ssim",
    "structure_scores",
    "subject_means",
    "tissue_contrast",
    "tissue_values",
    "variance_components",
    "variance_table",
    "vfa_precision",
    "volume_errors",
    "within_subject_cov",
    "write_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
