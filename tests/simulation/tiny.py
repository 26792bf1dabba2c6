"""Hand-made sequences as data, so that engine tests do not depend on the builders."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from protocols import AdcEvent, GradEvent, RfEvent, Sequence


def trapezoid(area: float, duration: float, ramp: float = 100e-6) -> GradEvent:
    """Trapezoid of the given area [1/m] over the whole of a block."""
    amplitude = area / (duration - ramp)
    return GradEvent(
        times=np.array([0.0, ramp, duration - ramp, duration]),
        values=np.array([0.0, amplitude, amplitude, 0.0]),
    )


def hard(flip_deg: float, phase: float = 0.0, use: str = "excitation", duration: float = 10e-6) -> RfEvent:
    """Block pulse; short, so that closed forms for instantaneous pulses hold."""
    return RfEvent(
        times=np.array([duration / 2]), b1=np.array([np.deg2rad(flip_deg) / (2 * np.pi * duration)], complex),
        delay=0.0, shape_duration=duration, center=duration / 2, phase_offset=phase, use=use,
    )  # fmt: skip


@dataclass
class Score:
    """Collects blocks, then becomes a Sequence."""

    rf: list[RfEvent] = field(default_factory=list)
    grad: list[GradEvent] = field(default_factory=list)
    adc: list[AdcEvent] = field(default_factory=list)
    rows: list[tuple[float, int, int, int, int, int]] = field(default_factory=list)
    labels: list[dict[str, int]] = field(default_factory=list)

    def play(self, duration, *, rf=None, gx=None, gy=None, gz=None, adc=None, **labels) -> None:
        ids = []
        libraries = (self.rf, self.grad, self.grad, self.grad, self.adc)
        for library, event in zip(libraries, (rf, gx, gy, gz, adc), strict=True):
            if event is None:
                ids.append(0)
            else:
                library.append(event)
                ids.append(len(library))
        self.rows.append((duration, *ids))
        if adc is not None:
            self.labels.append(labels)

    def sequence(self, **definitions) -> Sequence:
        table = np.array(self.rows)
        ids = table[:, 1:].astype(np.int32)
        names = sorted({n for row in self.labels for n in row})
        return Sequence(
            start=np.concatenate([[0.0], np.cumsum(table[:-1, 0])]), duration=table[:, 0],
            rf=ids[:, 0], gx=ids[:, 1], gy=ids[:, 2], gz=ids[:, 3], adc=ids[:, 4],
            rf_events=tuple(self.rf), grad_events=tuple(self.grad), adc_events=tuple(self.adc),
            labels={n: np.array([row.get(n, 0) for row in self.labels], np.int32) for n in names},
            definitions=definitions,
        )  # fmt: skip


PRE, READ_MARGIN = 1e-3, 100e-6


def readout(
    score: Score, k, fov, samples, dwell, line, part, *, spoil, wait=0.0, prephase_extra=0.0, **labels
):
    """Prephase and encode, read, rewind and spoil: 2 PRE + READ long. ``k`` is (ky, kz) in 1/m."""
    dk = 1.0 / fov
    flat = samples * dwell
    read = GradEvent(
        times=np.array([0.0, READ_MARGIN, READ_MARGIN + flat, 2 * READ_MARGIN + flat]),
        values=np.array([0.0, dk / dwell, dk / dwell, 0.0]),
    )
    # k = 0 exactly on sample samples // 2.
    before = -(dk / dwell) * READ_MARGIN / 2 - dk * (samples // 2 + 0.5) - prephase_extra
    after = spoil - read.area - before
    score.play(
        PRE, gx=trapezoid(before, PRE), gy=trapezoid(k[0], PRE) if k[0] else None,
        gz=trapezoid(k[1], PRE) if k[1] else None,
    )  # fmt: skip
    score.play(
        2 * READ_MARGIN + flat, gx=read, adc=AdcEvent(num=samples, dwell=dwell, delay=READ_MARGIN),
        LIN=line, PAR=part, **labels,
    )  # fmt: skip
    score.play(
        PRE + wait, gx=trapezoid(after, PRE), gy=trapezoid(-k[0], PRE) if k[0] else None,
        gz=trapezoid(-k[1], PRE) if k[1] else None,
    )  # fmt: skip
    return 2 * PRE + 2 * READ_MARGIN + flat + wait


def spoiled_gre(
    shape, fov, *, flip_deg=8.0, tr=7e-3, spoil=2000.0, increment_deg=50.0, dummies=0, dwell=10e-6
):
    """3-D spoiled gradient echo; k-space centred at n // 2 on every axis. TE is the middle of the readout."""
    score = Score()
    nx, ny, nz = shape
    for n, d in enumerate(range(-dummies, ny * nz)):
        line, part = (d % ny, d // ny) if d >= 0 else (0, 0)
        k = ((line - ny // 2) / fov[1], (part - nz // 2) / fov[2]) if d >= 0 else (0.0, 0.0)
        phase = np.deg2rad(increment_deg) * n * (n + 1) / 2
        score.play(10e-6, rf=hard(flip_deg, phase))
        used = 10e-6
        if d < 0:
            score.play(2 * PRE, gx=trapezoid(spoil, 2 * PRE))
            used += 2 * PRE
            score.play(tr - used)
        else:
            busy = 2 * PRE + 2 * READ_MARGIN + nx * dwell
            rf = score.rf[-1]
            readout(score, k, fov[0], nx, dwell, line, part, spoil=spoil, wait=tr - used - busy)
            adc = score.adc[-1]
            score.adc[-1] = AdcEvent(
                num=adc.num, dwell=adc.dwell, delay=adc.delay, phase_offset=rf.phase_offset
            )
    return score.sequence(
        FOV=tuple(fov), MatrixEncoded=tuple(float(v) for v in shape), ReadoutOversampling=1.0
    )
