"""Reconstruction: ISMRMRD raw data in, NIfTI with a BIDS sidecar out.

Reads files of any origin; knows nothing of the simulator.
"""

from .distortion import GradientCoils, unwarp
from .gfactor import g_factor
from .header import Encoding, Header
from .mp2rage import mp2rage_uniform, reconstruct_mp2rage
from .nifti import write_nifti
from .options import Image, ReconOptions
from .raw import AcquisitionFlag, RawData, RawDataError, read_raw
from .reconstruct import reconstruct, reconstruct_file, reconstruct_volumes
from .windows import Window

__all__ = [
    "AcquisitionFlag",
    "Encoding",
    "GradientCoils",
    "Header",
    "Image",
    "RawData",
    "RawDataError",
    "ReconOptions",
    "Window",
    "g_factor",
    "mp2rage_uniform",
    "read_raw",
    "reconstruct",
    "reconstruct_file",
    "reconstruct_mp2rage",
    "reconstruct_volumes",
    "unwarp",
    "write_nifti",
]
