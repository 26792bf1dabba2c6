"""Cutting a readout into runs of samples whose phases are quadratic in the sample number."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fit(
    phi: np.ndarray, first: int, count: int, scale: np.ndarray, rate: np.ndarray, curve: np.ndarray
) -> float:
    """Fit phi[first + j] = phi[first] + j rate + j (j - 1) / 2 curve through first, middle and last sample.

    Returns the largest phase error [cycles] of any sample for a spin with |psi| = ``scale``.
    """
    fields = phi.shape[1]
    h, last = (count - 1) // 2, count - 1
    for d in range(fields):
        end = phi[first + last, d] - phi[first, d]
        curve[d], rate[d] = 0.0, end / last if last > 0 else 0.0
        if h > 0:
            middle = phi[first + h, d] - phi[first, d]
            # Two equations j rate + j (j - 1) / 2 curve at j = h and j = last.
            curve[d] = 2.0 * (end / last - middle / h) / (last - h)
            rate[d] = middle / h - 0.5 * (h - 1) * curve[d]
    worst = 0.0
    for j in range(count):
        error = 0.0
        for d in range(fields):
            fit = j * rate[d] + 0.5 * j * (j - 1) * curve[d]
            error += abs(phi[first + j, d] - phi[first, d] - fit) * scale[d]
        worst = max(worst, error)
    return worst


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _straighten(phi: np.ndarray, first: int, count: int, scale: np.ndarray, rate: np.ndarray) -> float:
    """Straight line through the first and last sample; returns its largest error [cycles]."""
    worst = 0.0
    for d in range(phi.shape[1]):
        rate[d] = (phi[first + count - 1, d] - phi[first, d]) / (count - 1)
    for j in range(count):
        error = 0.0
        for d in range(phi.shape[1]):
            error += abs(phi[first + j, d] - phi[first, d] - j * rate[d]) * scale[d]
        worst = max(worst, error)
    return worst


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def cut_readout(
    phi: np.ndarray, scale: np.ndarray, tolerance: float, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Greedy cut of the samples of one readout into runs.

    Parameters
    ----------
    phi : array (samples, D)
        Phase integrals at the samples.
    scale : array (D,)
        Largest |psi| of each encoding field, so that scale * phi are cycles.
    tolerance : float
        Phase error allowed at any sample [cycles].
    longest : int
        Samples of a run at most: the recurrence starts afresh after them.

    Returns
    -------
    count : (runs,) samples;  rate, curve : (runs, D) first and second difference, curve 0 where a
    straight line is good enough.
    """
    total, fields = phi.shape
    counts = np.empty(total, np.int64)
    rates, curves = np.zeros((total, fields)), np.zeros((total, fields))
    rate, curve = np.empty(fields), np.empty(fields)
    runs, start = 0, 0
    while start < total:
        most = min(longest, total - start)
        good, bad = min(most, 3), most + 1
        if _fit(phi, start, most, scale, rate, curve) <= tolerance:
            good = most
        while bad - good > 1 and good < most:
            trial = (good + bad) // 2
            if _fit(phi, start, trial, scale, rate, curve) <= tolerance:
                good = trial
            else:
                bad = trial
        if good > 1 and _straighten(phi, start, good, scale, rate) <= tolerance:
            curve[:] = 0.0
        else:
            _fit(phi, start, good, scale, rate, curve)
        counts[runs], rates[runs], curves[runs] = good, rate, curve
        runs += 1
        start += good
    return counts[:runs], rates[:runs], curves[:runs]
