"""What goes wrong within a scan: frequency and gain drift, spikes. Pure functions on lists of readouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_NEIGHBOURS = 16
"""Samples on either side of a spike that make the local RMS."""


def with_frequency_drift(
    data: Sequence[np.ndarray], times: Sequence[np.ndarray], tau: Sequence[np.ndarray], drift: float
) -> list[np.ndarray]:
    """Return readouts with the phase of a centre frequency that drifts.

    s(t) -> s(t) exp(-2 pi i drift t tau): at time t of the scan the object is off resonance by drift times t
    [Hz], which dephases over tau, the time since the excitation with its sign reversed by each refocusing
    pulse. The frequency is taken as constant within tau: the rest is pi drift tau^2, 1e-3 rad for 0.1 Hz/s
    and 50 ms. Contrast of balanced steady states, which depends on the frequency, is left as it is.

    Parameters
    ----------
    data : sequence of array (coils, samples)
    times : sequence of array (samples,)
        Of each sample, since the start of the scan [s].
    tau : sequence of array (samples,)
        Dephasing time of each sample [s].
    drift : float
        [Hz/s].

    Returns
    -------
    list of array (coils, samples), of the types given
    """
    if drift == 0.0:
        return list(data)
    turn = -2j * np.pi * drift
    return [
        np.asarray(d * np.exp(turn * np.asarray(t) * np.asarray(u)), dtype=d.dtype)
        for d, t, u in zip(data, times, tau, strict=True)
    ]


def with_gain_drift(
    data: Sequence[np.ndarray], times: Sequence[np.ndarray], drift: float
) -> list[np.ndarray]:
    """Return readouts times 1 + drift t: signal and noise alike, as a receiver that warms up.

    Parameters
    ----------
    data : sequence of array (coils, samples)
    times : sequence of array (samples,)
        Since the start of the scan [s].
    drift : float
        Relative [1/s].

    Raises
    ------
    ValueError
        If the gain would become negative within the scan.
    """
    if drift == 0.0:
        return list(data)
    last = max((float(np.max(t)) for t in times if np.size(t)), default=0.0)
    if 1.0 + drift * last <= 0.0:
        raise ValueError(
            f"gain drift must keep the gain positive; got {drift}/s over {last:.0f} s. Give a relative rate."
        )
    return [
        np.asarray(d * (1.0 + drift * np.asarray(t)), dtype=d.dtype) for d, t in zip(data, times, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Spike:
    """One corrupted sample of all coils.

    readout, sample : where;  amplitude : over the local RMS of each coil;  phase : [rad].
    """

    readout: int
    sample: int
    amplitude: float
    phase: float


def draw_spikes(
    rng: np.random.Generator,
    samples: Sequence[int],
    *,
    rate: float,
    amplitude: tuple[float, float] = (5.0, 50.0),
    volumes: int = 1,
) -> tuple[Spike, ...]:
    """Draw the spikes of a scan.

    Their number is Poisson with mean ``rate`` times ``volumes``; they fall on all samples alike; sizes are
    log-uniform in ``amplitude``, phases uniform (0 to 5 per volume, 5 to 50 times the local RMS: general
    knowledge).

    Parameters
    ----------
    rng : numpy.random.Generator
    samples : sequence of int
        Samples of each readout.
    rate : float
        Mean number per volume.
    amplitude : tuple of float
        Smallest and largest size over the local RMS.
    volumes : int
        Image volumes of the scan.
    """
    counts = np.asarray(samples, int)
    total = int(counts.sum())
    number = int(rng.poisson(rate * volumes)) if total else 0
    ends = np.cumsum(counts)
    spikes = []
    for _ in range(number):
        place, size, phase = rng.uniform(0.0, 1.0, 3)
        at = min(int(place * total), total - 1)
        readout = int(np.searchsorted(ends, at, side="right"))
        low, high = np.log(amplitude)
        spikes.append(
            Spike(
                readout=readout,
                sample=at - int(ends[readout] - counts[readout]),
                amplitude=float(np.exp(low + size * (high - low))),
                phase=float(2 * np.pi * phase),
            )
        )
    return tuple(spikes)


def with_spikes(data: Sequence[np.ndarray], spikes: Sequence[Spike]) -> list[np.ndarray]:
    """Return readouts with spikes: s += amplitude RMS_c exp(i phase), RMS_c of coil c over 33 samples around.

    Parameters
    ----------
    data : sequence of array (coils, samples)
        With noise: between echoes it sets the size.
    spikes : sequence of Spike

    Raises
    ------
    ValueError
        If a spike lies outside the data.
    """
    out = list(data)
    for spike in spikes:
        if not 0 <= spike.readout < len(out) or not 0 <= spike.sample < out[spike.readout].shape[1]:
            raise ValueError(
                f"spikes must lie in the data; got readout {spike.readout}, sample {spike.sample} of "
                f"{len(out)} readouts. Draw them for this scan."
            )
        # Sizes follow the data without spikes: their order does not matter.
        clean = data[spike.readout]
        first = max(spike.sample - _NEIGHBOURS, 0)
        around = clean[:, first : spike.sample + _NEIGHBOURS + 1]
        rms = np.sqrt(np.mean(np.abs(around) ** 2, axis=1))
        changed = out[spike.readout].copy()
        changed[:, spike.sample] += spike.amplitude * rms * np.exp(1j * spike.phase)
        out[spike.readout] = changed
    return out


def spike_record(spikes: Sequence[Spike]) -> list[dict[str, Any]]:
    """Return spikes as JSON-able numbers (SI)."""
    return [
        {"readout": s.readout, "sample": s.sample, "amplitude": s.amplitude, "phase_rad": s.phase}
        for s in spikes
    ]
