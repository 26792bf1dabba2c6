"""Reconstruction: ISMRMRD raw data in, NIfTI with a BIDS sidecar out.

Reads files of any origin; knows nothing of the simulator.
"""

from .header import Encoding, Header
from .nifti import write_nifti
from .options import Image, ReconOptions
from .raw import AcquisitionFlag, RawData, RawDataError, read_raw
from .reconstruct import reconstruct, reconstruct_file
from .windows import Window

__all__ = [
    "AcquisitionFlag",
    "Encoding",
    "Header",
    "Image",
    "RawData",
    "RawDataError",
    "ReconOptions",
    "Window",
    "read_raw",
    "reconstruct",
    "reconstruct_file",
    "write_nifti",
]
