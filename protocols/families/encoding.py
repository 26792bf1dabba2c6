"""Which phase-encoding lines are acquired, and in which order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cards.protocol import Protocol

Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PhaseLines:
    """Acquired phase lines.

    Attributes
    ----------
    index : ndarray of int
        Line numbers, ascending; k-space centre at ``matrix // 2``.
    reference, imaging : ndarray of bool
        Whether a line calibrates parallel imaging, and whether it lies on the undersampled grid.
    """

    index: Index
    reference: NDArray[np.bool_]
    imaging: NDArray[np.bool_]

    def flags(self, position: int) -> dict[str, int]:
        """Pulseq labels: REF marks a calibration line, REF and IMA one that also images."""
        reference = bool(self.reference[position])
        return {"REF": int(reference), "IMA": int(reference and bool(self.imaging[position]))}


def phase_lines(protocol: Protocol) -> PhaseLines:
    """Lines along phase: every R-th through the centre, the reference block, partial Fourier."""
    count, settings = protocol.geometry.matrix[1], protocol.acceleration
    lines = np.arange(count, dtype=np.int64)
    centred = lines - count // 2
    imaging = centred % settings.phase == 0
    reference = np.zeros(count, dtype=bool)
    if settings.phase > 1:
        half = settings.reference_lines // 2
        reference = (centred >= -half) & (centred < settings.reference_lines - half)
    kept = (imaging | reference) & (lines >= skipped(count, settings.partial_fourier_phase))
    return PhaseLines(index=lines[kept], reference=reference[kept], imaging=imaging[kept])


def partition_lines(protocol: Protocol) -> Index:
    """Lines along partition, ascending."""
    count = protocol.geometry.matrix[2]
    first = skipped(count, protocol.acceleration.partial_fourier_partition)
    return np.arange(first, count, dtype=np.int64)


def in_ellipse(line: Index, partition: Index, counts: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether (phase, partition) pairs lie inside the ellipse that the matrix spans."""
    radii = [2.0 * (i - n // 2) / n for i, n in zip((line, partition), counts, strict=True)]
    return np.asarray(np.hypot(*radii) <= 1.0 + 1e-9)


def inside_shutter(protocol: Protocol, line: int, partition: int) -> bool:
    """Whether a (phase, partition) pair is read: always, or inside the card's elliptical shutter."""
    if not protocol.acceleration.elliptical:
        return True
    return bool(in_ellipse(np.array(line), np.array(partition), protocol.geometry.matrix[1:]))


def skipped(count: int, fraction: float) -> int:
    """Leading lines that partial Fourier leaves out."""
    return count - math.ceil(count * fraction - 1e-9)


def train_segments(lines: Index, count: int, turbo: int, order: str) -> list[Index]:
    """Split lines into trains of at most `turbo`, interleaved, each in view order.

    Parameters
    ----------
    lines : ndarray of int
        Line numbers.
    count : int
        Matrix size along this axis (centre at ``count // 2``).
    turbo : int
        Longest train.
    order : {'linear', 'centric', 'reverse_centric'}
        Ascending, by distance from the centre, or the centre last.
    """
    if order != "linear":
        lines = lines[np.argsort(np.abs(lines - count // 2), kind="stable")]
    if order == "reverse_centric":
        lines = lines[::-1]
    number = math.ceil(lines.size / turbo)
    return [lines[start::number] for start in range(number)]


def _first_slot(shots: int, turbo: int, center: int, rank: int, count: int) -> int | None:
    """Slot of the first rank such that `rank` lies in the run of echo `center`, near its middle.

    None where all `count` ranks do not fit into the slots.
    """
    low = max(0, shots * center - rank)
    high = min(turbo * shots - count, shots * (center + 1) - 1 - rank)
    middle = shots * center + shots // 2 - rank
    return min(max(middle, low), high) if low <= high else None


@dataclass(frozen=True, kw_only=True, eq=False)
class EchoOrder:
    """Which (line, partition) each echo of each shot of a TSE reads.

    Attributes
    ----------
    line, partition : ndarray of int, shape (shots, echoes)
        Positions; -1 where the echo is played without ADC.
    center : int
        Echo that carries the k-space centre (0-based).
    """

    line: Index
    partition: Index
    center: int


def echo_order(
    line: Index,
    partition: Index,
    counts: tuple[int, int],
    turbo: int,
    center: int,
    *,
    elliptical: bool = False,
    centric: bool = False,
) -> EchoOrder:
    """Spread (ky, kz) pairs over echo trains so that the k-space centre falls on one echo.

    The pairs are ranked along ky (kz breaks ties), so that signal varies smoothly and monotonically
    over k-space; echo e of all shots together takes one run of ranks. The ranks are shifted so that
    (0, 0) lies in the run of echo `center`; slots without a pair are played without ADC. In centric
    order the pairs are ranked by their distance |ky| from the centre instead (ky and kz break ties), and
    the echoes before `center` stay empty.

    Parameters
    ----------
    line, partition : ndarray of int
        Acquired lines along each axis.
    counts : tuple of int
        Matrix sizes along (phase, partition).
    turbo : int
        Echoes per shot.
    center : int
        Wanted echo of the k-space centre.
    elliptical : bool
        Leave out the corners of the (phase, partition) plane.
    centric : bool
        From the centre of k-space outwards.
    """
    ky, kz = (grid.ravel() for grid in np.meshgrid(line, partition, indexing="ij"))
    if elliptical:
        kept = in_ellipse(ky, kz, counts)
        ky, kz = ky[kept], kz[kept]
    if centric:
        outwards = np.lexsort((kz, ky, np.abs(ky - counts[0] // 2)))
        ky, kz = ky[outwards], kz[outwards]
    rank = int(np.flatnonzero((ky == counts[0] // 2) & (kz == counts[1] // 2))[0])
    shots = max(1, math.ceil(ky.size / turbo))
    while (start := _first_slot(shots, turbo, center, rank, ky.size)) is None:
        shots += 1
    slots = np.full((2, turbo * shots), -1, dtype=np.int64)
    slots[0, start : start + ky.size] = ky
    slots[1, start : start + ky.size] = kz
    lines, partitions = (np.ascontiguousarray(s.reshape(turbo, shots).T) for s in slots)
    return EchoOrder(line=lines, partition=partitions, center=center)
