"""Matrix, field of view, counters and trajectory of a scan, from labels and definitions or from k itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rawdata import RawData

_KINDS = ("epi", "radial", "spiral")
"""Trajectories that the sequence names itself."""
_UNENCODED_FOV = 5e-3
"""Extent given to an axis without encoding where the sequence does not tell the slice [m]."""
_UNKNOWN_FOV = 0.25
"""Field of view of a non-Cartesian sequence that does not tell one [m]."""


def numbers(value: Any) -> tuple[float, ...]:
    """Return a definition as numbers."""
    if isinstance(value, str):
        return tuple(float(v) for v in value.split())
    return tuple(float(v) for v in np.atleast_1d(np.asarray(value, float)))


class Encoding:
    """How the readouts of a scan fill k-space.

    Sequences of ours say it by labels and definitions. Of others it is read off k-space: lines and partitions
    by rank, slices by the plane that the excitation meets, repetitions by how often a line has been seen; a
    trajectory that is not a set of equal lines along the readout axis is stored sample by sample.
    """

    def __init__(self, raw: RawData) -> None:
        definitions = raw.sequence.definitions
        readouts = raw.readouts
        self._k_max = _k_reach(raw)
        self.samples = max(readouts.offsets[p].shape[0] for p in set(readouts.pattern.tolist()))
        self.labelled = "LIN" in raw.sequence.labels
        told = str(definitions.get("Trajectory", ""))
        self.cartesian = (
            _along_read(raw) and (self.labelled or _equal_lines(raw)) and told in ("", "cartesian")
        )
        self.kind = "cartesian" if self.cartesian else told if told in _KINDS else "other"
        self.oversampling = numbers(definitions.get("ReadoutOversampling", 1.0))[0]
        self.lines, self.partitions = self._counters(raw)
        self.slices, self.repetitions, self.slice_shift = self._stack(raw)
        self.fov = self._field_of_view(raw)
        matrix = numbers(definitions.get("MatrixEncoded", ()))
        if len(matrix) < 3:
            matrix = self._matrix_of_k()
            wide = self.samples
        else:
            # An asymmetric echo has fewer samples than the matrix it is encoded on.
            wide = round(matrix[0]) if matrix[0] >= self.samples else self.samples
        if self.kind in ("radial", "spiral"):
            # Samples may be denser along an arm, but the field of view is what the arms together resolve.
            matrix, self.oversampling = (matrix[0] / self.oversampling, *matrix[1:]), 1.0
        self.encoded_x = wide if self.cartesian else max(round(matrix[0]), 1)
        self.encoded_fov = (self.fov[0] * self.oversampling, *self.fov[1:])
        self.matrix = tuple(max(round(m), 1) for m in matrix)
        self.recon = tuple(max(round(m), 1) for m in numbers(definitions.get("MatrixRecon", matrix)))
        self.center = (
            round(numbers(definitions.get("KSpaceCenterLine", self.matrix[1] // 2))[0]),
            round(numbers(definitions.get("KSpaceCenterPartition", self.matrix[2] // 2))[0]),
        )
        self.acceleration = (
            round(numbers(definitions.get("AccelerationFactorPE", 1))[0]),
            round(numbers(definitions.get("AccelerationFactor3D", 1))[0]),
        )

    def _counters(self, raw: RawData) -> tuple[np.ndarray, np.ndarray]:
        """LIN and PAR of every ADC event; ranked k where a foreign sequence carries no labels."""
        if self.labelled or not self.cartesian:
            return raw.sequence.label("LIN"), raw.sequence.label("PAR")
        lines = np.zeros(raw.sequence.adc_blocks.size, np.int64)
        partitions = np.zeros_like(lines)
        for out, axis in ((lines, 1), (partitions, 2)):
            k = raw.readouts.base[:, axis]
            step = _line_step(k, self._k_max.max())
            if step:
                out[raw.readouts.adc] = np.rint((k - k.min()) / step).astype(np.int64)
        return lines, partitions

    def _stack(self, raw: RawData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """SLC, REP and shift of the slice along the logical axes [m] of every ADC event."""
        count = raw.sequence.adc_blocks.size
        shift = np.zeros((count, 3))
        if raw.sequence.labels or raw.sequence.rf_blocks.size == 0:
            number = raw.sequence.label("SLC")
            told = numbers(raw.sequence.definitions.get("SlicePositions", ()))
            if len(told) > number.max(initial=0):
                shift[:, 2] = np.asarray(told)[number]
            return number, raw.sequence.label("REP"), shift
        where = _excited_planes(raw)
        planes, rank = np.unique(np.round(where, 6), axis=0, return_inverse=True)
        slices, repetitions = np.zeros(count, np.int64), np.zeros(count, np.int64)
        slices[raw.readouts.adc] = rank.reshape(-1)
        if len(planes) > 1:
            shift[raw.readouts.adc] = where
        seen: dict[tuple[float, ...], int] = {}
        for r, adc in enumerate(raw.readouts.adc.tolist()):
            first = _positions(raw, r)[[0, -1]]
            key = (int(slices[adc]), *np.round(first.reshape(-1) / max(self._k_max.max(), 1e-9), 4).tolist())
            repetitions[adc] = seen.get(key, 0)
            seen[key] = int(repetitions[adc]) + 1
        return slices, repetitions, shift

    def _field_of_view(self, raw: RawData) -> tuple[float, ...]:
        """Field of view [m]: the definition (old files write mm), else 1/dk per axis."""
        told = numbers(raw.sequence.definitions.get("FOV", ()))
        if len(told) == 3 and min(told) > 0:
            return tuple(f * 1e-3 for f in told) if max(told) > 5.0 else told
        r = raw.readouts
        along = np.abs(np.diff(r.offsets[int(r.pattern[0])], axis=0))
        fov = []
        for axis in range(3):
            step = _line_step(r.base[:, axis], self._k_max.max()) if axis else 0.0
            if axis == 0 and len(along) and _along_read(raw) and np.median(along[:, 0]) > 0:
                step = float(np.median(along[:, 0]))
            if not step:
                encoded = self._k_max[axis] > 1e-3 * self._k_max.max() and self._k_max.max() > 0
                fov.append(_UNKNOWN_FOV if encoded else _UNENCODED_FOV)
            else:
                fov.append(min(1.0 / step, 10.0))
        return tuple(fov)

    def _matrix_of_k(self) -> tuple[float, ...]:
        """Matrix of a sequence that does not tell it."""
        if self.cartesian:
            across = [int(c.max()) + 1 for c in (self.lines, self.partitions)]
            return (self.samples / self.oversampling, across[0], across[1])
        reach = self._k_max.copy()
        encoded = reach > 1e-3 * max(float(reach.max()), 1e-9)
        # Spirals and radial readouts end short of the corners of a square, not evenly so.
        same = encoded & np.isclose(self.fov, self.fov[0], rtol=1e-3)
        reach[same] = reach[same].max() if same.any() else 0.0
        return tuple(
            max(2 * round(k * f), 1) if e else 1.0 for k, f, e in zip(reach, self.fov, encoded, strict=True)
        )

    def trajectories(self, raw: RawData) -> dict[int, np.ndarray]:
        """Logical k of non-Cartesian readouts as demanded, float32 (samples * 3,) per ADC event.

        In units of 1 / encoded field of view. What a real gradient system makes of it stays unknown to the
        reconstruction.
        """
        if self.cartesian:
            return {}
        fov = np.asarray(self.encoded_fov)
        return {
            int(i): (_positions(raw, n) * fov).astype(np.float32).reshape(-1)
            for n, i in enumerate(raw.readouts.adc)
        }


def _k_reach(raw: RawData) -> np.ndarray:
    """Largest |k| along each logical axis [1/m], 0 where k does not change."""
    r = raw.readouts
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for number, offsets in enumerate(r.offsets):
        base = r.base[r.pattern == number]
        if len(base):
            low = np.minimum(low, base.min(axis=0) + offsets.min(axis=0))
            high = np.maximum(high, base.max(axis=0) + offsets.max(axis=0))
    reach = np.maximum(np.abs(low), np.abs(high))
    return np.asarray(np.where(high - low > 1e-3 * max(float(reach.max()), 1e-9), reach, 0.0))


def _positions(raw: RawData, readout: int) -> np.ndarray:
    r = raw.readouts
    return np.asarray((r.base[readout] + r.offsets[r.pattern[readout]])[:, :3])


def _along_read(raw: RawData) -> bool:
    """Whether every readout runs along the readout axis."""
    return all(
        np.ptp(o[:, 1:], axis=0).max() <= 1e-3 * max(float(np.abs(o).max()), 1e-9)
        for o in raw.readouts.offsets
    )


def _equal_lines(raw: RawData) -> bool:
    """Whether all readouts pass the same equidistant positions along the readout axis, in the same sense."""
    r = raw.readouts
    first = r.offsets[int(r.pattern[0])]
    if any(o.shape != first.shape for o in r.offsets):
        return False
    step = np.diff(first[:, 0])
    if step.size == 0 or step.min() <= 0:
        return step.size == 0 or not np.any(step)
    start = np.array([r.base[i, 0] + r.offsets[r.pattern[i]][0, 0] for i in range(r.adc.size)])
    same = all(np.ptp(o[:, 0] - first[:, 0]) < 1e-2 * step.mean() for o in r.offsets)
    return bool(same and np.ptp(step) < 1e-2 * step.mean() and np.ptp(start) < 0.05 * step.mean())


def _line_step(k: np.ndarray, largest: float) -> float:
    """Distance of neighbouring lines [1/m]; 0 where the axis is not stepped through."""
    distinct = np.unique(np.round(k, 3))
    gaps = np.diff(distinct)
    gaps = gaps[gaps > max(1e-4 * largest, 2e-3)]
    return float(gaps.min()) if gaps.size else 0.0


def _excited_planes(raw: RawData) -> np.ndarray:
    """Centre of the plane excited before each readout with signal, along the logical axes [m], (n, 3).

    The carrier offset f meets the spins where g.r = f, with g the gradient at the centre of the pulse.
    """
    from protocols import infer_use

    sequence, f0 = raw.sequence, raw.scanner.f0
    planes, current = np.zeros((sequence.rf_blocks.size, 3)), np.zeros(3)
    for i, block in enumerate(sequence.rf_blocks):
        event = sequence.rf_events[int(sequence.rf[block]) - 1]
        if infer_use(event) == "excitation" or i == 0:
            played = sequence.gradients(block)
            g = np.array([0.0 if e is None else np.interp(event.center, e.times, e.values) for e in played])
            size = float(g @ g)
            current = event.total_freq_offset(f0) * g / size if size > 0 else np.zeros(3)
        planes[i] = current
    return np.asarray(planes[raw.readouts.pulse])
