"""Jobs of the benchmarks of the exact Bloch engine: sequences as plain tables of steps, and clouds of spins.

A table of steps says the same to every simulator: during each step B1 and the gradients are constant, and a
step may end with an ADC sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantoms import PointCloud
from protocols import AdcEvent, GradEvent, RfEvent, Sequence

FOV = 0.2
"""Width of all bodies [m]."""
_TISSUES = np.array([[2.569, 0.329, 1.0], [0.833, 0.083, 0.86], [0.5, 0.07, 0.77]])
"""T1 [s], T2 [s] and density of CSF, grey and white matter (BrainWeb, 1.5 T)."""


@dataclass(frozen=True)
class Segment:
    """Steps of equal length ``dt`` [s] with one gradient [Hz/m]; ``b1`` [Hz] per step, or ADC samples.

    phase : RF phase [rad] on top of that of ``b1``, in Pulseq's sense.
    """

    count: int
    dt: float
    gradient: tuple[float, float, float] = (0.0, 0.0, 0.0)
    b1: np.ndarray | None = None
    phase: float = 0.0
    adc: bool = False

    @property
    def duration(self) -> float:
        return self.count * self.dt


def step_table(segments: list[Segment]) -> np.ndarray:
    """Rows (duration, B1 real, B1 imaginary, gx, gy, gz, sample at the end or not) of all steps."""
    rows = []
    for s in segments:
        b1 = np.zeros(s.count, complex) if s.b1 is None else s.b1 * np.exp(1j * s.phase)
        fixed = [np.full(s.count, value) for value in (*s.gradient, float(s.adc))]
        rows.append(np.stack([np.full(s.count, s.dt), b1.real, b1.imag, *fixed], axis=1))
    return np.concatenate(rows)


def to_sequence(segments: list[Segment]) -> Sequence:
    """One block for each segment."""
    events: tuple[list[RfEvent], list[GradEvent], list[AdcEvent]] = ([], [], [])
    known: dict[object, int] = {}
    numbers = np.zeros((5, len(segments)), np.int32)

    def number(kind: int, key: object, event: object) -> int:
        if (kind, key) not in known:
            events[kind].append(event)  # type: ignore[arg-type]
            known[kind, key] = len(events[kind])
        return known[kind, key]

    for i, s in enumerate(segments):
        edges = np.array([0.0, s.duration])
        if s.b1 is not None:
            event = RfEvent(
                times=(np.arange(s.count) + 0.5) * s.dt, b1=s.b1, delay=0.0, shape_duration=s.duration,
                center=s.duration / 2, phase_offset=s.phase, use="undefined",
            )  # fmt: skip
            numbers[0, i] = number(0, (s.dt, s.phase, s.b1.tobytes()), event)
        for axis, value in enumerate(s.gradient):
            if value:
                event = GradEvent(times=edges, values=np.full(2, value))
                numbers[1 + axis, i] = number(1, (s.duration, value), event)
        if s.adc:
            event = AdcEvent(num=s.count, dwell=s.dt, delay=0.5 * s.dt)
            numbers[4, i] = number(2, (s.count, s.dt), event)
    duration = np.array([s.duration for s in segments])
    raster = next((s.dt for s in segments if s.b1 is not None), 1e-6)
    return Sequence(
        start=np.concatenate([[0.0], np.cumsum(duration)[:-1]]), duration=duration,
        rf=numbers[0], gx=numbers[1], gy=numbers[2], gz=numbers[3], adc=numbers[4],
        rf_events=tuple(events[0]), grad_events=tuple(events[1]), adc_events=tuple(events[2]),
        labels={}, definitions={}, rasters={"gradient": 1e-5, "rf": raster, "adc": 1e-7, "block": 1e-5},
    )  # fmt: skip


def sinc_pulse(flip_deg: float, phase_deg: float, *, steps: int = 20, dt: float = 1e-5) -> Segment:
    """Hamming-windowed sinc pulse of time-bandwidth product 4 without a gradient."""
    t = (np.arange(steps) + 0.5) / steps - 0.5
    shape = np.sinc(4 * t) * (0.54 + 0.46 * np.cos(2 * np.pi * t))
    b1 = np.deg2rad(flip_deg) / (2 * np.pi * shape.sum() * dt) * shape
    return Segment(steps, dt, b1=b1.astype(complex), phase=np.deg2rad(phase_deg))


def gradient_echo(matrix: int = 64, samples: int = 64) -> list[Segment]:
    """2D spoiled gradient echo: RF spoiling by 117 degrees, a spoiler of four cycles per pixel, TR 10 ms."""
    dwell, moment = 1e-5 * 64 / samples, 1.0 / FOV
    segments, phase, step = [], 0.0, 0.0
    for line in range(matrix):
        ky = (line - matrix // 2) * moment
        read = moment / dwell * 64 / samples
        wind = Segment(1, 1e-3, ((-32 * moment) / 1e-3, ky / 1e-3, 0.0))
        spoil = Segment(1, 1e-3, (4 * 64 * moment / 1e-3, -ky / 1e-3, 0.0))
        segments += [
            sinc_pulse(15.0, phase),
            wind,
            Segment(samples, dwell, (read, 0.0, 0.0), adc=True),
            spoil,
        ]
        segments.append(Segment(1, 10e-3 - sum(s.duration for s in segments[-4:])))
        step = (step + 117.0) % 360.0
        phase = (phase + step) % 360.0
    return segments


def spin_echo_epi(matrix: int = 100) -> list[Segment]:
    """Single-shot spin-echo EPI of ``matrix`` lines and samples, dwell 5 us, TE 100 ms."""
    dwell, moment, blip = 5e-6, 1.0 / FOV, 1e-4
    wind = Segment(1, 1e-3, (matrix / 2 * moment / 1e-3, matrix / 2 * moment / 1e-3, 0.0))
    excite, refocus = sinc_pulse(90.0, 0.0), sinc_pulse(180.0, 90.0)
    half = matrix / 2 * (matrix * dwell + blip)
    segments = [excite, wind, Segment(1, 0.05 - 1e-3 - 0.5 * (excite.duration + refocus.duration)), refocus]
    segments.append(Segment(1, 0.05 - 0.5 * refocus.duration - half))
    for line in range(matrix):
        read = moment / dwell * (1 - 2 * (line % 2))
        segments.append(Segment(matrix, dwell, (read, 0.0, 0.0), adc=True))
        segments.append(Segment(1, blip, (0.0, moment / blip, 0.0)))
    return segments


def body(shape: tuple[int, int], *, off_resonance: float = 20.0, seed: int = 0) -> PointCloud:
    """Grid of voxels over the field of view with three tissues in smooth patches, off-resonance in hertz."""
    x, y = np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in shape), indexing="ij")
    x, y = x.ravel(), y.ravel()
    tissue = np.digitize(np.sin(23 * x + 5 * y) + np.sin(17 * y - 7 * x * y), [-0.5, 0.7])
    t1, t2, m0 = _TISSUES[tissue].T
    inside = (x / 0.42) ** 2 + (y / 0.47) ** 2 < 1
    noise = np.random.default_rng(seed).uniform(0.9, 1.1, x.size)
    position = np.stack([FOV * x, FOV * y, np.zeros_like(x)], axis=1)
    edges = np.diag([FOV / shape[0], FOV / shape[1], 1e-3])
    return PointCloud(
        name="body", position=position, m0=np.where(inside, m0 * noise, 1e-3) / x.size, t1=t1, t2=t2,
        df=off_resonance * (np.cos(9 * x) * np.sin(6 * y + 0.3)), voxel=edges,
    )  # fmt: skip


def scattered(n: int, *, size: tuple[float, float, float] = (0.18, 0.22, 0.0), seed: int = 0) -> PointCloud:
    """``n`` points at random in a box [m] with T1, T2 and density of three tissues, a tenth of them fat."""
    rng = np.random.default_rng(seed)
    t1, t2, m0 = _TISSUES[rng.integers(0, 3, n)].T
    return PointCloud(
        name="points", position=(rng.random((n, 3)) - 0.5) * size, m0=m0 / n, t1=t1, t2=t2,
        df=np.where(rng.random(n) < 0.1, -220.0, 0.0),
    )  # fmt: skip
