"""Field maps of one head in one scanner on the scan's grid: B0 and B1+; the receiver is beside them."""

from __future__ import annotations

import numpy as np

from phantoms import TissueProperties
from protocols import Scanner

from . import fields, transmit
from .coarse import COIL_SPACING, FIELD_SPACING, Coarse, Head
from .placement import PlacedPhantom
from .receivers import Receiver, receiver, uniform_receiver
from .session import Session

__all__ = ["Coarse", "Head", "Receiver", "b0_map", "b1_map", "receiver", "tissue_shift", "uniform_receiver"]


def b0_map(
    placed: PlacedPhantom, chi: np.ndarray, scanner: Scanner, session: Session, *, chi_outside: float
) -> np.ndarray:
    """Off-resonance [Hz] on the fine grid: susceptibility, shimmed over the brain, plus session errors.

    Parameters
    ----------
    placed : PlacedPhantom
    chi : array (tissues,)
        Susceptibility of each tissue of ``placed`` [ppm].
    scanner, session : Scanner, Session
    chi_outside : float
        Susceptibility of air [ppm].
    """
    coarse = Coarse.over(placed, FIELD_SPACING)
    contrast = np.asarray(chi - chi_outside, dtype=np.float32)
    fine_chi = np.tensordot(contrast, placed.fractions, axes=1) + np.float32(chi_outside)
    chi_map = coarse.mean_of(fine_chi)
    direction = placed.to_world[2, :3]  # world z in logical axes
    along_array = np.array([direction[1], direction[2], direction[0]])
    spacing = np.array([coarse.axes[i][1] - coarse.axes[i][0] for i in (1, 2, 0)])
    shift = _field_of_continued_body(chi_map, spacing, along_array, chi_outside)
    points = placed.coordinates(coarse.axes).reshape(-1, 3)
    brain = coarse.mean_of(placed.brain).reshape(-1).clip(min=0.0)
    region = np.where(brain > 0.5, brain, 0.0) if (brain > 0.5).any() else brain
    shift = shift * scanner.field.susceptibility
    field = fields.shim(shift.reshape(-1), points, region, scanner.field.shim_order)
    hertz = field * 1e-6 * scanner.f0 + session.frequency_offset
    hertz += (points / 0.1) @ np.asarray(session.shim_error)
    return fields.upsample(hertz.reshape(coarse.shape), coarse.matrices)


def _field_of_continued_body(
    chi_map: np.ndarray, spacing: np.ndarray, direction: np.ndarray, chi_outside: float
) -> np.ndarray:
    """Dipole field of a head whose lowest slice continues downwards (a cut neck would act as a dipole)."""
    axis = int(np.argmax(np.abs(direction)))
    add = round(0.15 / float(spacing[axis]))
    up = direction[axis] > 0
    width = [(0, 0)] * 3
    width[axis] = (add, 0) if up else (0, add)
    continued = np.pad(chi_map, width, mode="edge")
    shift = fields.dipole_field(continued, spacing, direction, outside=chi_outside)
    keep = [slice(None)] * 3
    keep[axis] = slice(add, None) if up else slice(0, chi_map.shape[axis])
    return shift[tuple(keep)]


def b1_map(placed: PlacedPhantom, head: Head, scanner: Scanner, session: Session) -> np.ndarray:
    """Relative transmit field on the fine grid; its mean over the brain is the session's calibration."""
    coarse = Coarse.over(placed, COIL_SPACING)
    points = placed.coordinates(coarse.axes).reshape(-1, 3)
    record = scanner.transmit
    from_center = points - head.center
    if record.pattern == "standing_wave":
        pattern = transmit.standing_wave(
            from_center, b0=scanner.b0, curvature_3t=record.dome, semi_axes=head.semi_axes,
            loss_tangent=record.loss_tangent,
        )  # fmt: skip
    else:
        pattern = transmit.dome(
            from_center, b0=scanner.b0, curvature_3t=record.dome, semi_axes=head.semi_axes
        )
    fine = fields.upsample(pattern.reshape(coarse.shape), coarse.matrices)
    weight = placed.brain if placed.brain.any() else placed.fractions.sum(axis=0)
    mean = float(np.sum(fine * weight) / np.sum(weight))
    return np.asarray(fine * (session.b1_scale / mean), dtype=np.float32)


def tissue_shift(properties: TissueProperties, f0: float) -> float:
    """Chemical shift of a tissue [Hz] at centre frequency f0 [Hz]."""
    return float(properties.shift_ppm * 1e-6 * f0)
