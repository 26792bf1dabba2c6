"""The exact Bloch engine: isochromats through any Pulseq sequence.

>>> from mrsim.simulation.bloch import BlochOptions, Machine, simulate_cloud
"""

from ..gradients import (
    EddyCurrent,
    GradientField,
    GradientSystem,
    ImpulseResponse,
    PolynomialField,
    SphericalHarmonicField,
)
from .encoding import Machine
from .engine import Signal, simulate_cloud
from .options import BlochOptions
from .scan import simulate_bloch
from .spoiling import recommended_spins, winding

__all__ = [
    "BlochOptions",
    "EddyCurrent",
    "GradientField",
    "GradientSystem",
    "ImpulseResponse",
    "Machine",
    "PolynomialField",
    "Signal",
    "SphericalHarmonicField",
    "recommended_spins",
    "simulate_bloch",
    "simulate_cloud",
    "winding",
]
