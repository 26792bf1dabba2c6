"""Movement of single points along paths of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .motion import Motion, finite_array, interpolate, knot_times, select_spins
from .phantom import PhantomError


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PathMotion(Motion):
    """Displacements of some points, linear in time between knots, constant outside or periodic.

    Parameters
    ----------
    times : ndarray, shape (k,)
        Knots [s], strictly increasing.
    displacement : ndarray, shape (k, m, 3)
        Displacement of m paths [m], added to the position at rest.
    spins : ndarray, shape (q,), optional
        Points that move; by default the first m points.
    rows : ndarray, shape (q,), optional
        Path each of them takes, 0..m-1; by default one each, in order.
    period : float, optional
        Period [s] after which the movement repeats; needs knots in 0..period.
    """

    times: NDArray[np.float64]
    displacement: NDArray[np.float64]
    spins: NDArray[np.intp] | None = None
    rows: NDArray[np.intp] | None = None
    period: float | None = None

    def __post_init__(self) -> None:
        times = knot_times("times", self.times)
        shape = np.shape(self.displacement)
        m = shape[1] if len(shape) == 3 else 0
        object.__setattr__(self, "times", times)
        object.__setattr__(
            self, "displacement", finite_array("displacement", self.displacement, (times.size, m, 3))
        )
        spins = np.arange(m) if self.spins is None else np.asarray(self.spins, np.intp)
        rows = np.arange(m) if self.rows is None else np.asarray(self.rows, np.intp)
        if spins.ndim != 1 or rows.shape != spins.shape or np.any(spins < 0):
            raise PhantomError(
                f"spins and rows must be equally long lists of points (>= 0) and paths; got shapes "
                f"{spins.shape} and {rows.shape} for {m} paths."
            )
        if rows.size and not (rows.min() >= 0 and rows.max() < m):
            raise PhantomError(f"rows must name paths 0..{m - 1}; got {rows.min()}..{rows.max()}.")
        object.__setattr__(self, "spins", spins)
        object.__setattr__(self, "rows", rows)
        _check_period(times, self.period)

    @property
    def is_rigid(self) -> bool:
        """Always false: paths differ from point to point."""
        return False

    def positions(self, r0: NDArray[np.float64], times: ArrayLike) -> NDArray[np.float64]:
        """Return where the points are, shape (k, n, 3) [m]."""
        assert self.spins is not None
        t = np.atleast_1d(np.asarray(times, np.float64))
        out = np.repeat(np.asarray(r0, np.float64)[None], t.size, axis=0)
        if self.spins.size and self.spins.max() >= out.shape[1]:
            raise PhantomError(
                f"spins must be points of the cloud, 0..{out.shape[1] - 1}; got {self.spins.max()}."
            )
        out[:, self.spins] += interpolate(_wrap(t, self.period), self.times, self.displacement)[:, self.rows]
        return out

    def knots(self, duration: float) -> NDArray[np.float64]:
        """Return the knots [s] in 0..duration, those of every period."""
        jumps = not np.array_equal(self.displacement[0], self.displacement[-1])
        return _repeated_knots(self.times, self.period, duration, jumps)

    def select(self, index: NDArray[np.intp]) -> PathMotion:
        """Return the movement of a cloud whose point i is the old point ``index[i]``."""
        assert self.spins is not None
        assert self.rows is not None
        spins, source = select_spins(self.spins, index)
        return replace(self, spins=spins, rows=self.rows[source])


def _check_period(times: NDArray[np.float64], period: float | None) -> None:
    """Raise `PhantomError` unless the knots [s] lie in 0..period."""
    if period is not None and not (0 < period < np.inf and times[0] >= 0 and times[-1] <= period):
        raise PhantomError(
            f"a periodic motion must have a positive period and its knots in 0..period; got period "
            f"{period} s and knots {times[0]:g}..{times[-1]:g} s."
        )


def _wrap(t: NDArray[np.float64], period: float | None) -> NDArray[np.float64]:
    """Return the times folded into one period [s], or as they are."""
    return t if period is None else np.mod(t, period)


def _repeated_knots(
    times: NDArray[np.float64], period: float | None, duration: float, jumps: bool = False
) -> NDArray[np.float64]:
    """Return the knots [s] of all periods in 0..duration and the borders; with jumps, just before too."""
    if period is not None:
        starts = period * np.arange(int(duration // period) + 1)
        inside = times[times < period]  # the last border is the first of the next period
        before = np.nextafter(starts, -np.inf) if jumps else starts
        times = np.unique(np.concatenate([(starts[:, None] + inside[None]).ravel(), starts, before]))
    return times[(times >= 0) & (times <= duration)]
