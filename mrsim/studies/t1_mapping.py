"""T1 of the ISMRM/NIST system phantom as one scanner measures it: scans, reconstruction, regions, fit.

A series of cards (`t1_protocols`) is played on the T1 array with a scanner's own imperfections, reconstructed
by the vendor's chain on one receiver gain, averaged over every vial and fitted.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .t1_protocols import FlipAngleProtocol, PlateScan, double_angle_cards, flip_angle_cards

if TYPE_CHECKING:
    from mrsim.simulation import Session, SimulationOptions
    from phantoms import Phantom, Vial
    from protocols import Protocol, Scanner

FloatArray = npt.NDArray[np.float64]

REGION_RADIUS = 6e-3
"""Radius of the measuring region inside a vial of 10 mm radius [m]."""
_ROUNDS = 3
"""Turns between T1 and flip map: each weakens the influence of the other tenfold or more."""
PHYSIOLOGICAL = 4
"""Vials 1 to 4, 2.0 to 0.7 s: the range over which VENUS reports its inter-vendor differences."""


def region(
    vial: Vial, shape: tuple[int, ...], affine: FloatArray, radius: float = REGION_RADIUS
) -> npt.NDArray[np.bool_]:
    """Voxels of an image whose centres lie within `radius` [m] of a vial's centre."""
    axes = np.meshgrid(*(np.arange(n) for n in shape[:3]), indexing="ij")
    place = np.stack([*axes, np.ones(shape[:3])], axis=-1) @ affine.T
    return np.asarray(np.linalg.norm(place[..., :3] - np.asarray(vial.center), axis=-1) <= radius)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One scanner on one day, ready to scan the phantom.

    Attributes
    ----------
    phantom : Phantom
        `phantoms.nist_system_phantom`.
    vials : tuple of Vial
        Where to measure.
    scanner : Scanner
        The machine.
    session : Session
        Its calibration on that day.
    options : SimulationOptions
        Accuracy and switches of the engine.
    rng : numpy.random.Generator
        Receiver noise.
    """

    phantom: Phantom
    vials: tuple[Vial, ...]
    scanner: Scanner
    session: Session
    options: SimulationOptions
    rng: np.random.Generator

    def measure(self, card: Protocol) -> FloatArray:
        """Scan, reconstruct and return the mean magnitude of every vial."""
        from mrsim.simulation import simulate, write_ismrmrd
        from protocols import read_seq, write_seq
        from recon import read_raw, reconstruct

        from .recon_choice import recon_options

        with tempfile.TemporaryDirectory() as folder:
            played, raw_file = Path(folder) / "card.seq", Path(folder) / "raw.h5"
            write_seq(played, card, self.scanner)
            raw = simulate(
                self.phantom, read_seq(played), self.scanner, card.prescription(), rng=self.rng,
                session=self.session, options=self.options,
            )  # fmt: skip
            write_ismrmrd(raw_file, raw)
            # A receive profile estimated image by image would differ between flip angles.
            choices = recon_options(self.scanner, {"intensity_correction": "none"})
            choices = dataclasses.replace(choices, prewhiten=self.options.noise)
            image = reconstruct(read_raw(raw_file), choices)
        data = np.abs(image.data)
        return np.array([data[region(v, data.shape, image.affine)].mean() for v in self.vials])

    def series(self, cards: Sequence[Protocol]) -> FloatArray:
        """Means of all vials in several scans, shape (vial, scan)."""
        return np.stack([self.measure(card) for card in cards], axis=-1)

    def double_angle(self, plate: PlateScan) -> DoubleAngle:
        """Scan a flip map."""
        cards = double_angle_cards(plate)
        return DoubleAngle(data=self.series(cards), flip=cards[0].flip_angle, tr=cards[0].timing.tr)


@dataclass(frozen=True, kw_only=True)
class DoubleAngle:
    """Means of the vials at one and at two times an angle (vial, 2), that angle [rad] and TR [s]."""

    data: FloatArray
    flip: float
    tr: float

    def b1(self, t1: FloatArray) -> FloatArray:
        """Flip angle over nominal in every vial, given its T1 [s]."""
        from mrsim.evaluation import double_angle_b1

        # Magnitudes do: the doubled angle stays below 180 degrees up to 1.5 times the nominal one.
        return double_angle_b1(self.data[:, 0], self.data[:, 1], self.flip, tr=self.tr, t1=t1)


@dataclass(frozen=True, kw_only=True)
class T1Measurement:
    """T1 of the vials by one scanner.

    Attributes
    ----------
    t1 : ndarray, shape (vial,)
        As the nominal flip angles give it [s].
    t1_corrected : ndarray, shape (vial,)
        With the measured flip angles [s].
    b1 : ndarray, shape (vial,)
        Measured flip angle over nominal.
    nominal : ndarray, shape (vial,)
        Of the table at the scanner's field [s].
    """

    t1: FloatArray
    t1_corrected: FloatArray
    b1: FloatArray
    nominal: FloatArray


def measure_t1(
    visit: Visit, protocol: FlipAngleProtocol, plate: PlateScan, *, flips: DoubleAngle | None = None
) -> T1Measurement:
    """T1 of the vials by variable flip angles, without and with a flip map of the same visit.

    Parameters
    ----------
    visit : Visit
    protocol : FlipAngleProtocol
    plate : PlateScan
    flips : DoubleAngle, optional
        Flip map of the same visit; scanned where not given.
    """
    from mrsim.evaluation import fit_vfa

    data = visit.series(flip_angle_cards(protocol, plate))
    angles = np.deg2rad(protocol.flips_deg)
    plain = fit_vfa(data, angles, protocol.tr).time
    flips = flips or visit.double_angle(plate)
    corrected = plain
    for _ in range(_ROUNDS):
        b1 = flips.b1(corrected)
        corrected = fit_vfa(data, angles, protocol.tr, b1=b1).time
    nominal = np.array([v.tissue.at(visit.scanner.b0).t1 for v in visit.vials])
    return T1Measurement(t1=plain, t1_corrected=corrected, b1=b1, nominal=nominal)


def spread_percent(values: Sequence[FloatArray]) -> FloatArray:
    """Largest difference between scanners over their mean [%], per vial."""
    table = np.asarray(values, float)
    return np.asarray(100.0 * np.ptp(table, axis=0) / table.mean(axis=0))
