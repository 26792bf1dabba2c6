"""KomaMRI's two published benchmark jobs, rebuilt, on one and two threads of this machine.

Its suite (github.com/JuliaHealth/KomaMRI.jl, benchmarks/setup.jl, MIT) is Julia and does not run here; its
times were published for its own machines, so only their size compares, not their digits.

Reproduced from that file and the default hardware limits it relies on:
  "MRI Lab": eight interleaves of a Glover spiral, field of view 0.2 m, N = 80, slew rate 150 T/m/s,
  lambda = 2.1, gradient raster 4 us, 60 kHz sampling (222 samples each); non-selective 90 degree Hamming sinc
  of 1 ms, TBP 4, TE 50 ms, TR 10 s.
  "Slice Selection 3D": 10,000 spins; 90 degree rectangle of 10 uT, TE 30 ms, 101 x 101 EPI at a dwell of
  2 us, field of view 0.23 m, slew rate 500 T/m/s. (No slice is selected in it, despite the name.)
Not reproduced: the brain phantoms. Points lie at random in boxes of their size, with three of their tissues
and fat's off-resonance. "MRI Lab" has there the labelled pixels of one slice at 2 mm, a number that its file
does not give: 6,500 are taken. Its pulses are stepped at 50 us; here at 1 us (sinc) and exactly (rectangle).
"""

import time

import numpy as np

from mrsim.simulation.bloch import BlochOptions, simulate_cloud
from phantoms import PointCloud
from protocols import GAMMA_BAR, AdcEvent, GradEvent, RfEvent, Sequence

from .bloch_jobs import scattered
from .measure import Row, cpu_seconds

PUBLISHED = {
    "MRI Lab": {1: 0.574, 2: 0.359, 4: 0.289, 8: 0.226},
    "Slice Selection 3D": {1: 3.06, 2: 1.61, 4: 0.92, 8: 0.59},
}
"""Wall seconds by CPU threads, from its stored benchmark data of 2026."""
REPEATS = 25
_Block = tuple[float, RfEvent | None, GradEvent | None, GradEvent | None, AdcEvent | None]


def _sequence(blocks: list[_Block], rf_raster: float) -> Sequence:
    """Sequence of blocks (duration, RF, x gradient, y gradient, ADC); equal objects are stored once."""
    kinds = ((1,), (2, 3), (4,))
    libraries = [
        list({id(b[i]): b[i] for b in blocks for i in k if b[i] is not None}.values()) for k in kinds
    ]
    place = [{id(event): 1 + i for i, event in enumerate(found)} for found in libraries]
    rf, gx, gy, adc = (
        np.array([place[kind].get(id(b[column]), 0) for b in blocks], np.int32)
        for column, kind in ((1, 0), (2, 1), (3, 1), (4, 2))
    )
    duration = np.array([b[0] for b in blocks])
    return Sequence(
        start=np.concatenate([[0.0], np.cumsum(duration)[:-1]]), duration=duration, rf=rf, gx=gx, gy=gy,
        gz=np.zeros_like(gx), adc=adc, rf_events=tuple(libraries[0]), grad_events=tuple(libraries[1]),
        adc_events=tuple(libraries[2]), labels={}, definitions={},
        rasters={"gradient": 4e-6, "rf": rf_raster, "adc": 1e-7, "block": 1e-6},
    )  # fmt: skip


def _pulse(shape: np.ndarray, length: float, raster: float) -> RfEvent:
    """Pulse of 90 degrees."""
    b1 = 0.25 / (shape.sum() * raster) * shape
    return RfEvent(
        times=(np.arange(shape.size) + 0.5) * raster, b1=b1.astype(complex), delay=0.0, shape_duration=length,
        center=length / 2, use="excitation",
    )  # fmt: skip


def spiral() -> Sequence:
    """The sequence of "MRI Lab"; Glover (1999), Magn. Reson. Med. 42:412."""
    fov, n, slew, turns, lam, raster, length = 0.2, 80, 150.0, 8, 2.1, 4e-6, 1e-3
    beta = slew * GAMMA_BAR / lam
    a2 = (9 * beta / 4) ** (1 / 3)
    last = 2 * np.pi * fov / (3 * turns) * np.sqrt(1 / (2 * GAMMA_BAR * slew * (fov / n) ** 3))
    t = np.arange(0.0, last, raster)
    theta = 0.5 * beta * t**2 / (1.5 + beta / (2 * a2) * t ** (4 / 3))
    rate = np.concatenate([[0.0], np.diff(theta)]) / raster
    u = (np.arange(1000) + 0.5) / 1000 - 0.5
    pulse = _pulse(np.sinc(4 * u) * (0.54 + 0.46 * np.cos(2 * np.pi * u)), length, length / 1000)
    adc = AdcEvent(num=int(last * 60e3), dwell=1 / 60e3, delay=0.0)
    blocks: list[_Block] = []
    for turn in range(turns):
        g = lam * rate * (1 + 1j * theta) * np.exp(1j * (theta + 2 * np.pi * turn / turns))
        times = np.concatenate([t, [t[-1] + 1e-4]])
        gx, gy = (GradEvent(times=times, values=np.append(part, 0.0)) for part in (g.real, g.imag))
        read = times[-1] + 1e-5
        blocks += [
            (length, pulse, None, None, None), (0.05 - length / 2, None, None, None, None),
            (read, None, gx, gy, adc), (10.0 - length / 2 - 0.05 - read, None, None, None, None),
        ]  # fmt: skip
    return _sequence(blocks, length / 1000)


def _trapezoid(amplitude: float, flat: float, rise: float) -> GradEvent:
    times = np.cumsum([0.0, rise, flat, rise])
    return GradEvent(times=times, values=amplitude * np.array([0.0, 1.0, 1.0, 0.0]))


def epi() -> Sequence:
    """The sequence of "Slice Selection 3D"."""
    n, fov, dwell = 101, 0.23, 2e-6
    flat, peak = dwell * (n - 1), 1 / (dwell * fov)
    blip, rise = flat / (n - 1), peak / GAMMA_BAR / 500.0
    length = 0.25 / (GAMMA_BAR * 10e-6)
    pulse = _pulse(np.ones(1), length, length)
    read = [_trapezoid(sign * peak, flat, rise) for sign in (1, -1)]
    phase = _trapezoid(peak * blip / (blip + rise), blip, rise)
    adc = AdcEvent(num=n, dwell=dwell, delay=rise - 0.5 * dwell)
    wind = (_trapezoid(-peak / 2, flat, rise), _trapezoid(-peak / 2 * flat / (flat + rise), flat, rise))
    line, step = flat + 2 * rise, blip + 2 * rise
    train = 2 * line + n * line + (n - 1) * step
    blocks: list[_Block] = [
        (length, pulse, None, None, None), (max(0.03 - train / 2 - length, 1e-6), None, None, None, None),
        (line, None, *wind, None),
    ]  # fmt: skip
    for i in range(n):
        blocks.append((line, None, read[i % 2], None, adc))
        if i < n - 1:
            blocks.append((step, None, None, phase, None))
    return _sequence(blocks, length)


def _seconds(cloud: PointCloud, sequence: Sequence, threads: int) -> tuple[float, float]:
    """Best wall seconds and median CPU seconds of all threads."""
    options, walls = BlochOptions(precision="single", threads=threads), []

    def play() -> None:
        start = time.perf_counter()
        simulate_cloud(cloud, sequence, options=options)
        walls.append(time.perf_counter() - start)

    return cpu_seconds(play, repeats=REPEATS), min(walls)


def _rows(name: str, cloud: PointCloud, sequence: Sequence) -> list[Row]:
    published = PUBLISHED[name]
    samples = sum(sequence.adc_events[k - 1].num for k in sequence.adc if k)
    title = f"{name}, {cloud.size} spins x {samples} samples"
    rows = []
    for threads in (1, 2):
        cpu, wall = _seconds(cloud, sequence, threads)
        if threads == 1:
            rows.append(Row(job=f"{title}: CPU time", value=cpu, unit="CPU-s"))
            rows.append(
                Row(job=f"{title}: rate", value=samples * cloud.size / cpu, unit="spin-samples/CPU-s")
            )
        rows.append(
            Row(job=f"{title}: {threads} thread(s), best wall", value=wall, unit="s",
                ratio=published[threads] / wall, against="KomaMRI, published / ours")
        )  # fmt: skip
    for threads, seconds in published.items():
        rows.append(Row(job=f"{name}: KomaMRI, published, {threads} thread(s)", value=seconds, unit="s"))
    return rows


def run() -> list[Row]:
    disc = scattered(6_500, size=(0.18, 0.22, 0.0))
    slab = scattered(10_000, size=(0.18, 0.22, 0.02))
    return [*_rows("MRI Lab", disc, spiral()), *_rows("Slice Selection 3D", slab, epi())]
