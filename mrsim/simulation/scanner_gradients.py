"""From a scanner's record to its gradient system, and to what the vendor knows of it."""

from __future__ import annotations

from typing import Any

from protocols import GradientCoil, Scanner, load_coil

from .gradient_fields import GradientField, ScaledField, SphericalHarmonicField
from .gradients import EddyCurrent, GradientSystem

_AXES = {"x": 0, "y": 1, "z": 2, "b0": None}
DISTORTION_PARAMETER = "mrsim_gradient_distortion"
"""Name of the ISMRMRD user parameter that holds `distortion_description` as JSON."""


def scanner_coil(scanner: Scanner) -> GradientCoil | None:
    """Table of a scanner's gradient coil as the vendor knows it, None for linear gradients."""
    name = scanner.gradients.coil
    return None if name == "none" else load_coil(name)


def scanner_field(scanner: Scanner) -> GradientField | None:
    """Spatial field of the gradients that a scanner really has, None if they are perfect.

    Its coil, the deviation of the machine from the table and the calibration error of each axis.
    """
    coil, error = scanner_coil(scanner), scanner.gradients.scale_error
    field = None
    if coil is not None:
        field = SphericalHarmonicField.of_coil(coil, excess=scanner.gradients.coil_error)
    if not any(error):
        return field
    return ScaledField(base=field, scale=(1.0 + error[0], 1.0 + error[1], 1.0 + error[2]))


def scanner_gradients(scanner: Scanner) -> GradientSystem:
    """Gradient system of a scanner record: what both engines play sequences on.

    Parameters
    ----------
    scanner : Scanner

    Returns
    -------
    GradientSystem with delays, low-pass and eddy currents of the record's ``response``, the field of its
    coil with its calibration errors, and Maxwell terms if the record has them.
    """
    response = scanner.response
    eddy: list[EddyCurrent] = []
    for term in response.eddy:
        source = _AXES[term.source]
        assert source is not None
        eddy.append(
            EddyCurrent(
                source=source,
                target=_AXES[term.target],
                amplitude=term.amplitude,
                time_constant=term.time_constant,
            )
        )
    return GradientSystem(
        delay=response.delay,
        eddy=tuple(eddy),
        low_pass=response.low_pass or None,
        # Where the corners of the demanded waveform lie: both are straight in between, so that the transfer
        # function acts on the true spectrum.
        raster=min(scanner.gradients.raster, 1e-5),
        # Moments of whole exam cards err by some 1e-4 cycles per metre (tested).
        straight=1e-8,
        field=scanner_field(scanner),
        concomitant=scanner.gradients.concomitant,
    )


def distortion_description(scanner: Scanner) -> dict[str, Any]:
    """Return what the vendor's reconstruction knows of the gradient coil, JSON-able.

    Written to the raw data as the user parameter `DISTORTION_PARAMETER`, so that a reconstruction can correct
    from the file alone. It holds the coil's table, not the machine's deviations from it (``coil_error``,
    ``scale_error``), which no vendor knows.

    Parameters
    ----------
    scanner : Scanner

    Returns
    -------
    dict with
        version : 1;
        correction : the scanner's habit, 'none', '2d' or '3d';
        coil : name;  frame : 'RAS', metres, origin at the isocentre;
        radius, valid_radius : [m];
        cosine, sine : per coil x, y, z a list of [n, m, coefficient].
        A point of the object at r appears at F(r) = r + radius sum coefficient (|r|/radius)^n
        P_nm(cos theta) cos or sin(m phi), P_nm unnormalised, without the Condon-Shortley phase.
    """
    coil = scanner_coil(scanner)
    description: dict[str, Any] = {
        "version": 1,
        "correction": scanner.recon.distortion_correction if coil is not None else "none",
        "coil": scanner.gradients.coil,
        "frame": "RAS",
        "radius": 0.25,
        "valid_radius": 0.25,
        "cosine": [[], [], []],
        "sine": [[], [], []],
    }
    if coil is None:
        return description
    known = SphericalHarmonicField.of_coil(coil)
    return description | {
        "radius": coil.radius,
        "valid_radius": coil.valid_radius,
        "cosine": [[list(term) for term in axis] for axis in known.cosine],
        "sine": [[list(term) for term in axis] for axis in known.sine],
    }
