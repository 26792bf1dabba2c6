"""Sequences by hand, block by block, and clouds of a few spins, for the proofs of the exact engine."""

from __future__ import annotations

import numpy as np

from mrsim.simulation.bloch import BlochOptions, simulate_cloud
from phantoms import PointCloud
from protocols import AdcEvent, GradEvent, RfEvent, Sequence

INSTANT = 1e-8
"""Length of a pulse that counts as instantaneous [s]: relaxation in it is below 1e-6 for T2 > 10 ms."""


class Score:
    """Blocks in play order; equal events are stored again, which a sequence allows."""

    def __init__(self, rf_raster: float = 1e-6) -> None:
        self._rows: list[tuple[float, int, int, int, int, int]] = []
        self._rf: list[RfEvent] = []
        self._grad: list[GradEvent] = []
        self._adc: list[AdcEvent] = []
        self._known: dict[int, int] = {}
        self._raster = rf_raster

    def _number(self, event, library):
        if event is None:
            return 0
        if id(event) not in self._known:
            library.append(event)
            self._known[id(event)] = len(library)
        return self._known[id(event)]

    def add(self, duration, *, rf=None, gx=None, gy=None, gz=None, adc=None):
        """Append one block."""
        self._rows.append(
            (
                duration,
                self._number(rf, self._rf),
                *(self._number(g, self._grad) for g in (gx, gy, gz)),
                self._number(adc, self._adc),
            )
        )
        return self

    def sequence(self) -> Sequence:
        """Everything so far as a `Sequence`."""
        columns = list(zip(*self._rows, strict=True))
        duration = np.array(columns[0], float)
        numbers = [np.array(c, np.int32) for c in columns[1:]]
        return Sequence(
            start=np.concatenate([[0.0], np.cumsum(duration)[:-1]]), duration=duration,
            **dict(zip(("rf", "gx", "gy", "gz", "adc"), numbers, strict=True)),
            rf_events=tuple(self._rf), grad_events=tuple(self._grad), adc_events=tuple(self._adc),
            labels={}, definitions={},
            rasters={"gradient": 1e-5, "rf": self._raster, "adc": 1e-7, "block": 1e-5},
        )  # fmt: skip


def hard(flip_deg, phase_deg=0.0, *, length=INSTANT, use="undefined", freq=0.0, delay=0.0) -> RfEvent:
    """Rectangular pulse; its phase is Pulseq's."""
    b1 = np.deg2rad(flip_deg) / (2 * np.pi * length)
    return RfEvent(
        times=delay + np.array([0.0, length]), b1=np.full(2, b1, complex), delay=delay, shape_duration=length,
        center=delay + length / 2, freq_offset=freq, phase_offset=np.deg2rad(phase_deg), use=use,
    )  # fmt: skip


def shaped(b1, raster=1e-6, *, phase_deg=0.0, freq=0.0, delay=0.0, use="undefined") -> RfEvent:
    """Pulse whose samples [Hz] each hold for one raster step."""
    b1 = np.asarray(b1, complex)
    length = b1.size * raster
    return RfEvent(
        times=delay + (np.arange(b1.size) + 0.5) * raster, b1=b1, delay=delay, shape_duration=length,
        center=delay + length / 2, freq_offset=freq, phase_offset=np.deg2rad(phase_deg), use=use,
    )  # fmt: skip


def trapezoid(amplitude, flat, rise=0.0, *, delay=0.0) -> GradEvent:
    """Trapezoid of an amplitude [Hz/m]; without ``rise`` a rectangle."""
    times = delay + np.cumsum([0.0, rise, flat, rise])
    return GradEvent(times=times, values=amplitude * np.array([0.0, 1.0, 1.0, 0.0]))


def moment(area, length) -> GradEvent:
    """Rectangular gradient of an area [1/m]."""
    return trapezoid(area / length, length)


def knots(times, values) -> GradEvent:
    return GradEvent(times=np.asarray(times, float), values=np.asarray(values, float))


def sample(delay=0.0) -> AdcEvent:
    """One sample ``delay`` seconds after the start of the block."""
    return AdcEvent(num=1, dwell=1e-10, delay=delay - 0.5e-10)


def spins(n=1, **fields) -> PointCloud:
    """Spins of one unit of magnetization in all; T1 and T2 infinite unless said."""
    values = {
        "position": np.zeros((n, 3)), "m0": np.full(n, 1.0 / n), "t1": np.array(np.inf),
        "t2": np.array(np.inf), **fields,
    }  # fmt: skip
    return PointCloud(name="spins", **values)


def line(n, length=1.0, axis=0, **fields) -> PointCloud:
    """Equally spaced spins over ``length`` [m] of an axis: whole turns across it sum to zero."""
    position = np.zeros((n, 3))
    position[:, axis] = ((np.arange(n) + 0.5) / n - 0.5) * length
    return spins(n, position=position, **fields)


def double(**options) -> BlochOptions:
    """Options in double precision on one thread."""
    return BlochOptions(**{"precision": "double", "threads": 1, **options})


def heard(cloud, sequence, *, machine=None, seed=0, **options) -> np.ndarray:
    """Samples (n,) of the first coil in double precision."""
    return simulate_cloud(cloud, sequence, machine=machine, options=double(**options), seed=seed).samples[0]


def final(cloud, sequence, *, machine=None, seed=0, **options) -> np.ndarray:
    """Magnetization (3, n) at the end in double precision."""
    return simulate_cloud(
        cloud, sequence, machine=machine, options=double(**options), seed=seed
    ).magnetization
