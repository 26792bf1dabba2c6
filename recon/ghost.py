"""Nyquist ghost of echo trains: the phase between odd and even lines, from navigators or from the image.

A delay between gradient and receiver shifts lines that run forwards and backwards in k against each other:
in image space along the readout they differ by a phase that is linear in x.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid, line_indices
from .fourier import ifft_centred
from .lines import readout_lines
from .raw import AcquisitionFlag, RawData

__all__ = ["GhostCorrection", "apply_phase", "entropy_phase", "navigator_phase"]

Complex = NDArray[np.complex64]
_COUNTERS = ("contrast", "repetition", "set", "phase")


def navigator_phase(lines: Complex, reverse: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Offset [rad] and slope [rad/pixel] of the phase of backward against forward lines.

    Each line is compared with the mean of its neighbours in time, so that a phase that grows along the train
    (off-resonance) drops out; summed over coils, fitted by the phase of the lag-one autocorrelation (Ahn and
    Cho 1987, doi:10.1109/TMI.1987.4307795) and one weighted least-squares step.

    Parameters
    ----------
    lines
        Unencoded lines of one train in the order of acquisition, image space: (line, coil, x).
    reverse
        Which of them run backwards, (line,).

    Returns
    -------
    tuple or None
        None where the lines do not alternate, or hold no signal.
    """
    product = np.zeros(lines.shape[2], np.complex128)
    for i in range(1, len(lines)):
        if reverse[i] == reverse[i - 1]:
            continue
        reference = lines[i - 1].astype(np.complex128)
        if i + 1 < len(lines) and reverse[i + 1] == reverse[i - 1]:
            reference = 0.5 * (reference + lines[i + 1])
        elif i > 1:
            continue  # only the difference to one neighbour: counted by the line before
        pair = (reference.conj() * lines[i]).sum(axis=0)
        product += pair.conj() if reverse[i - 1] else pair
    weight = np.abs(product)
    if not weight.any():
        return None
    x = np.arange(len(product)) - len(product) // 2
    slope = float(np.angle((product[1:] * product[:-1].conj()).sum()))
    offset = float(np.angle((product * np.exp(-1j * slope * x)).sum()))
    rest = np.angle(product * np.exp(-1j * (offset + slope * x)))
    power = weight**2 / (weight**2).sum()
    middle = float((power * x).sum())
    spread = float((power * (x - middle) ** 2).sum())
    step = float((power * (x - middle) * rest).sum()) / spread if spread > 0 else 0.0
    mean = float((power * rest).sum())
    return offset + mean - step * middle, slope + step


def apply_phase(lines: Complex, reverse: NDArray[np.bool_], phase: tuple[float, float]) -> Complex:
    """Take half of the phase off the backward lines and add the other half to the forward ones.

    A delay moves both by as much in opposite directions, so the image stays where it is.
    """
    x = np.arange(lines.shape[2]) - lines.shape[2] // 2
    half = np.exp(0.5j * (phase[0] + phase[1] * x)).astype(np.complex64)
    return np.asarray(lines * np.where(reverse[:, None, None], half.conj(), half))


def entropy_phase(
    lines: Complex, reverse: NDArray[np.bool_], ky: NDArray[np.intp], shape: tuple[int, int]
) -> tuple[float, float]:
    """Phase between backward and forward lines that makes the image's entropy smallest.

    Needs no navigator (after Clare, Proc. ISMRM 11:1041, 2003). An offset of pi moves object and ghost
    against each other by half a field of view and leaves the entropy as it is: it is looked for within
    +-pi/2.

    Parameters
    ----------
    lines
        Lines of one slice, (line, coil, x).
    ky
        Their place on the matrix.
    shape
        Matrix along read with oversampling, in which a shift of one sample is 2 pi / n per pixel, and phase.
    """
    from scipy.optimize import minimize

    per_sample = 2 * np.pi / shape[0]

    def cost(values: NDArray[np.float64]) -> float:
        corrected = apply_phase(lines, reverse, (float(values[0]), float(values[1]) * per_sample))
        k = np.zeros((lines.shape[2], lines.shape[1], shape[1]), np.complex64)
        k[:, :, ky] = corrected.transpose(2, 1, 0)
        image = ifft_centred(k, (2,))
        power = (image.real**2 + image.imag**2).sum(axis=1).astype(np.float64)
        share = np.sqrt(power / max(power.sum(), 1e-30))
        return float(-(share * np.log(share + 1e-12)).sum())

    starts = [(a, s) for a in np.linspace(-1.2, 1.2, 5) for s in np.linspace(-1.5, 1.5, 7)]
    best = min(starts, key=lambda v: cost(np.asarray(v)))
    found = minimize(cost, best, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-7, "maxiter": 120})
    return float(found.x[0]), float(found.x[1]) * per_sample


@dataclass(kw_only=True)
class GhostCorrection:
    """Correction of every train of a measurement; called with rows and their lines, image space along x.

    method : ``auto`` (navigators where there are some, else nothing), ``navigator``, ``entropy``, ``none``;
    phases : what was found, one record per train
    """

    raw: RawData
    grid: CartesianGrid
    method: str = "auto"
    phases: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        raw, heads = self.raw, self.raw.heads
        self._reverse = raw.flagged(AcquisitionFlag.REVERSE)
        found = raw.flagged(AcquisitionFlag.PHASE_CORRECTION) & ~raw.flagged(AcquisitionFlag.NOISE)
        if len(imaging := np.flatnonzero(~found & ~raw.flagged(AcquisitionFlag.NOISE))):
            found &= heads["active_channels"] == heads["active_channels"][imaging[0]]
        self._navigators = np.flatnonzero(found)
        self._only = raw.flagged(AcquisitionFlag.CALIBRATION) & ~raw.flagged(
            AcquisitionFlag.CALIBRATION_AND_IMAGING
        )

    def __call__(self, rows: NDArray[np.intp], lines: Complex) -> Complex:
        """Lines (row, coil, x) with the phase of their train taken off."""
        if self.method == "none" or not self._reverse[rows].any():
            return lines
        names = (*_COUNTERS, *self._shots(rows))
        keys = np.stack([self.raw.heads[name][rows] for name in names] + [self._only[rows]], axis=1)
        trains, member = np.unique(keys, axis=0, return_inverse=True)
        result = lines.copy()
        for number in range(len(trains)):
            own = np.flatnonzero(member.reshape(-1) == number)
            phase = self._phase(rows[own], lines[own])
            if phase is not None:
                result[own] = apply_phase(lines[own], self._reverse[rows[own]], phase)
                self.phases.append(
                    {
                        "slice": int(self.raw.heads["slice"][rows[own[0]]]),
                        "repetition": int(self.raw.heads["repetition"][rows[own[0]]]),
                        "offset_rad": round(phase[0], 6),
                        "shift_samples": round(phase[1] * self.grid.encoded[0] / (2 * np.pi), 6),
                    }
                )
        return result

    def _shots(self, rows: NDArray[np.intp]) -> tuple[str, ...]:
        """Name the segment counter, unless it tells the direction of the lines, as some writers have it."""
        segment, reverse = self.raw.heads["segment"][rows], self._reverse[rows]
        one_way = all(np.ptp(reverse[segment == s].astype(int)) == 0 for s in np.unique(segment))
        return () if one_way else ("segment",)

    def _phase(self, rows: NDArray[np.intp], lines: Complex) -> tuple[float, float] | None:
        if self.method == "entropy":
            ky = line_indices(self.raw, rows, self.grid, 1)
            return entropy_phase(lines, self._reverse[rows], ky, self.grid.encoded[:2])
        chosen = self._nearest(int(rows[0]), (*_COUNTERS, *self._shots(rows)))
        if not len(chosen):
            return None
        return navigator_phase(readout_lines(self.raw, chosen, self.grid), self._reverse[chosen])

    def _nearest(self, row: int, names: tuple[str, ...]) -> NDArray[np.intp]:
        """Navigators of the same slice whose other counters agree with the train's most."""
        heads, only = self.raw.heads, self._only
        nav = self._navigators[heads["slice"][self._navigators] == heads["slice"][row]]
        if not len(nav):
            return np.asarray(nav)
        same = np.sum([heads[name][nav] == heads[name][row] for name in names], axis=0)
        same = same + (only[nav] == only[row])
        first = int(nav[np.argmax(same)])
        alike = np.all([heads[name][nav] == heads[name][first] for name in names], axis=0)
        return np.asarray(nav[alike & (only[nav] == only[first])])
