"""Digital phantoms with known truth: heads, cohorts, Shepp-Logan and simple bodies.

Names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "BodyPhantom": "objects.body_phantom",
    "BoundPool": "bound",
    "Box": "objects.bodies",
    "CohortError": "cohorts.design",
    "CohortSpec": "cohorts.cohort",
    "Compartment": "compartments",
    "Composition": "composition",
    "Cylinder": "objects.bodies",
    "Design": "cohorts.design",
    "Diffeomorphism": "cohorts.diffeomorphism",
    "DiffusionModel": "diffusion",
    "DiffusionTruth": "diffusion_maps",
    "Ellipsoid": "objects.ellipsoids",
    "EllipsoidBody": "objects.bodies",
    "EllipsoidPhantom": "objects.ellipsoids",
    "Motion": "motion",
    "PathMotion": "path_motion",
    "Phantom": "phantom",
    "PhantomEntry": "registry",
    "PhantomError": "phantom",
    "PhantomFileError": "file_error",
    "PointCloud": "cloud",
    "RigidMotion": "motion",
    "SemisolidPool": "semisolid",
    "Subject": "cohorts.people",
    "TensorCompartment": "compartments",
    "TissueCurve": "tissues",
    "TissueError": "tissues",
    "TissueProperties": "tissues",
    "TissueTable": "tissues",
    "Vial": "objects.nist",
    "Written": "formats.convert",
    "acr_bodies": "objects.acr",
    "acr_phantom": "objects.acr",
    "ball": "compartments",
    "brainweb_tissues": "formats.brainweb",
    "check_content": "formats.io",
    "cloud_from_phantom": "voxels",
    "colin27_head": "anatomy.head",
    "cortical_thickness": "anatomy.thickness",
    "default_tissue_table": "tissue_file",
    "describe_phantom": "registry",
    "diffusion_truth": "diffusion_maps",
    "fibre_odf": "fodf",
    "format_of": "formats.convert",
    "gach_bodies": "objects.gach",
    "gach_phantom": "objects.gach",
    "generate_cohort": "cohorts.generate",
    "grid_bodies": "objects.grid",
    "grid_phantom": "objects.grid",
    "head_diffusion": "anatomy.fibres",
    "icbm152_head": "anatomy.head",
    "load_cloud": "formats.cloud_file",
    "load_cohort_spec": "cohorts.cohort_file",
    "load_phantom": "formats.io",
    "load_tissue_table": "tissue_file",
    "magphan_bodies": "objects.magphan",
    "magphan_phantom": "objects.magphan",
    "make_phantom": "registry",
    "make_subject": "cohorts.subject",
    "nist_diffusion_bodies": "objects.diffusion_phantom",
    "nist_diffusion_phantom": "objects.diffusion_phantom",
    "nist_fiducials": "objects.nist",
    "nist_system_phantom": "objects.nist_phantom",
    "nist_vials": "objects.nist",
    "oddities": "formats.convert",
    "phantom_from_cloud": "gridding",
    "phantom_names": "registry",
    "phantom_picture": "picture",
    "planted_effects": "cohorts.people",
    "point_phantom": "objects.shepp_logan",
    "procedural_head": "anatomy.procedural",
    "read_bifti": "formats.bifti",
    "read_brainweb": "formats.brainweb",
    "read_jemris": "formats.jemris",
    "read_koma": "formats.koma",
    "read_mrilab": "formats.mrilab",
    "read_mrzero": "formats.mrzero",
    "read_phantom_file": "formats.files",
    "read_xcat": "formats.xcat",
    "sample_cohort": "cohorts.people",
    "save_cloud": "formats.cloud_file",
    "save_phantom": "formats.io",
    "shepp_logan_2d": "objects.shepp_logan",
    "shepp_logan_3d": "objects.shepp_logan",
    "stick": "compartments",
    "uniform_box": "objects.shepp_logan",
    "uniform_sphere": "objects.shepp_logan",
    "water_diffusion": "objects.diffusion_phantom",
    "water_fat_bodies": "objects.water_fat",
    "water_fat_phantom": "objects.water_fat",
    "write_bifti": "formats.bifti_write",
    "write_koma": "formats.koma_write",
    "write_phantom_file": "formats.convert",
    "xcat_tissues": "formats.xcat",
    "zeppelin": "compartments",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'phantoms' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
