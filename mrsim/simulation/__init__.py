"""From a head, a sequence and a scanner to raw data: the k-space engine.

>>> from mrsim.simulation import simulate, write_ismrmrd
"""

from .engine import simulate
from .ismrmrd_file import write_ismrmrd
from .kspace.path import UnsupportedSequenceError
from .options import SimulationOptions
from .placement import Pose
from .rawdata import RawData
from .session import Session, draw_session

__all__ = [
    "Pose",
    "RawData",
    "Session",
    "SimulationOptions",
    "UnsupportedSequenceError",
    "draw_session",
    "simulate",
    "write_ismrmrd",
]
