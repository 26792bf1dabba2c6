"""Digital phantoms with known truth: heads, cohorts, Shepp-Logan and simple bodies.

Names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "BodyPhantom": "body_phantom",
    "BoundPool": "bound",
    "Box": "bodies",
    "CohortError": "design",
    "CohortSpec": "cohort",
    "Compartment": "compartments",
    "Composition": "composition",
    "Cylinder": "bodies",
    "Design": "design",
    "DiffusionModel": "diffusion",
    "DiffusionTruth": "diffusion_maps",
    "Ellipsoid": "ellipsoids",
    "EllipsoidBody": "bodies",
    "EllipsoidPhantom": "ellipsoids",
    "Motion": "motion",
    "PathMotion": "path_motion",
    "Phantom": "phantom",
    "PhantomEntry": "registry",
    "PhantomError": "phantom",
    "PhantomFileError": "file_error",
    "PointCloud": "cloud",
    "RigidMotion": "motion",
    "Subject": "people",
    "TensorCompartment": "compartments",
    "TissueCurve": "tissues",
    "TissueError": "tissues",
    "TissueProperties": "tissues",
    "TissueTable": "tissues",
    "Vial": "nist",
    "Written": "convert",
    "acr_bodies": "acr",
    "acr_phantom": "acr",
    "ball": "compartments",
    "brainweb_tissues": "brainweb",
    "check_content": "io",
    "cloud_from_phantom": "voxels",
    "colin27_head": "head",
    "cortical_thickness": "thickness",
    "default_tissue_table": "tissue_file",
    "describe_phantom": "registry",
    "diffusion_truth": "diffusion_maps",
    "fibre_odf": "fodf",
    "format_of": "convert",
    "gach_bodies": "gach",
    "gach_phantom": "gach",
    "generate_cohort": "generate",
    "grid_bodies": "grid",
    "grid_phantom": "grid",
    "head_diffusion": "fibres",
    "icbm152_head": "head",
    "load_cloud": "cloud_file",
    "load_cohort_spec": "cohort_file",
    "load_phantom": "io",
    "load_tissue_table": "tissue_file",
    "magphan_bodies": "magphan",
    "magphan_phantom": "magphan",
    "make_phantom": "registry",
    "make_subject": "subject",
    "nist_diffusion_bodies": "diffusion_phantom",
    "nist_diffusion_phantom": "diffusion_phantom",
    "nist_fiducials": "nist",
    "nist_system_phantom": "nist_phantom",
    "nist_vials": "nist",
    "oddities": "convert",
    "phantom_from_cloud": "gridding",
    "phantom_names": "registry",
    "phantom_picture": "picture",
    "planted_effects": "people",
    "point_phantom": "shepp_logan",
    "procedural_head": "procedural",
    "read_bifti": "bifti",
    "read_brainweb": "brainweb",
    "read_jemris": "jemris",
    "read_koma": "koma",
    "read_mrilab": "mrilab",
    "read_mrzero": "mrzero",
    "read_phantom_file": "files",
    "read_xcat": "xcat",
    "sample_cohort": "people",
    "save_cloud": "cloud_file",
    "save_phantom": "io",
    "shepp_logan_2d": "shepp_logan",
    "shepp_logan_3d": "shepp_logan",
    "stick": "compartments",
    "uniform_box": "shepp_logan",
    "uniform_sphere": "shepp_logan",
    "water_diffusion": "diffusion_phantom",
    "water_fat_bodies": "water_fat",
    "water_fat_phantom": "water_fat",
    "write_bifti": "bifti_write",
    "write_koma": "koma_write",
    "write_phantom_file": "convert",
    "xcat_tissues": "xcat",
    "zeppelin": "compartments",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'phantoms' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
