"""Digital phantoms with known truth: heads, cohorts, Shepp-Logan and simple bodies.

Names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "BoundPool": "bound",
    "CohortError": "cohort",
    "CohortSpec": "cohort",
    "Compartment": "compartments",
    "Composition": "composition",
    "DiffusionModel": "diffusion",
    "DiffusionTruth": "diffusion_maps",
    "Ellipsoid": "ellipsoids",
    "EllipsoidPhantom": "ellipsoids",
    "Motion": "motion",
    "PathMotion": "motion",
    "Phantom": "phantom",
    "PhantomEntry": "registry",
    "PhantomError": "phantom",
    "PhantomFileError": "hdf5",
    "PointCloud": "cloud",
    "RigidMotion": "motion",
    "Subject": "cohort",
    "TensorCompartment": "compartments",
    "TissueCurve": "tissues",
    "TissueError": "tissues",
    "TissueProperties": "tissues",
    "TissueTable": "tissues",
    "Vial": "nist",
    "ball": "compartments",
    "cloud_from_phantom": "voxels",
    "default_tissue_table": "tissues",
    "describe_phantom": "registry",
    "diffusion_truth": "diffusion_maps",
    "head_diffusion": "fibres",
    "icbm152_head": "head",
    "load_phantom": "io",
    "load_tissue_table": "tissues",
    "make_phantom": "registry",
    "make_subject": "subject",
    "nist_fiducials": "nist",
    "nist_system_phantom": "nist",
    "nist_vials": "nist",
    "phantom_names": "registry",
    "point_phantom": "shepp_logan",
    "read_bifti": "bifti",
    "read_jemris": "jemris",
    "read_koma": "koma",
    "read_phantom_file": "files",
    "sample_cohort": "cohort",
    "save_phantom": "io",
    "shepp_logan_2d": "shepp_logan",
    "shepp_logan_3d": "shepp_logan",
    "stick": "compartments",
    "uniform_box": "shepp_logan",
    "uniform_sphere": "shepp_logan",
    "write_koma": "koma_write",
    "zeppelin": "compartments",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'phantoms' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
