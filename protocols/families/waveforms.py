"""Gradients of any piecewise-linear shape in a composer, and what a registered gradient plays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..sequence import GradEvent
from .composer import BuildError, Composer


def extended_gradient(composer: Composer, times: ArrayLike, values: ArrayLike) -> int:
    """Event number of a piecewise-linear gradient.

    Parameters
    ----------
    composer : Composer
        Sequence under construction.
    times : array_like of float, shape (n,)
        Knots [s] from block start, ascending, on the gradient raster. A first or last knot at the
        block's edge may be non-zero; the neighbouring block has to go on there.
    values : array_like of float, shape (n,)
        gamma-bar G at the knots [Hz/m].

    Raises
    ------
    BuildError
        If the shape breaks the scanner's design limits.
    """
    import pypulseq as pp

    t, g = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if not np.any(g):
        return 0
    slew = np.max(np.abs(np.diff(g) / np.diff(t)))
    if np.max(np.abs(g)) > composer.max_amplitude * (1 + 1e-5) or slew > composer.max_slew * (1 + 1e-4):
        raise BuildError(
            f"gradient shape must stay within {composer.max_amplitude:.4g} Hz/m and {composer.max_slew:.4g} "
            f"Hz/m/s; got {np.max(np.abs(g)):.4g} and {slew:.4g}. Use a lower bandwidth or a longer spacing."
        )
    event = pp.make_extended_trapezoid(
        channel="x", amplitudes=g, times=t, system=composer.system, skip_check=True
    )
    number = composer.seq.register_grad_event(event)
    return int(number[0] if isinstance(number, tuple) else number)


def strong_trapezoid(
    composer: Composer, amplitude: float, rise: float, flat: float, delay: float = 0.0
) -> int:
    """Event number of a trapezoid that may exceed the design amplitude [Hz/m]; 0 if it vanishes."""
    import pypulseq as pp

    if abs(amplitude) < 1e-6:
        return 0
    event = pp.make_trapezoid(
        channel="x",
        amplitude=amplitude,
        rise_time=rise,
        flat_time=flat,
        fall_time=rise,
        delay=delay,
        max_grad=2.0 * abs(amplitude),  # the caller keeps the hardware's limit, above the design limit
        system=composer.system,
    )
    return int(composer.seq.register_grad_event(event))


def played(composer: Composer, number: int) -> GradEvent | None:
    """Return what a registered gradient plays; None for number 0."""
    if not number:
        return None
    library: Any = composer.seq.grad_library
    row, kind = library.data[number], library.type[number]
    if kind == "t":
        amplitude, rise, flat, fall, delay = (float(v) for v in row[:5])
        times = delay + np.cumsum([0.0, rise, flat, fall])
        values = amplitude * np.array([0.0, 1.0, 1.0, 0.0])
        keep = np.array([True, True, flat > 0.0, True])
        return GradEvent(times=times[keep], values=values[keep])
    amplitude, _, _, shape, time, delay = (float(v) for v in row[:6])
    wave = amplitude * _shape(composer, int(shape))
    return GradEvent(times=delay + _shape(composer, int(time)) * composer.raster, values=wave)


def _shape(composer: Composer, number: int) -> Any:
    from types import SimpleNamespace

    from pypulseq.decompress_shape import decompress_shape

    data = composer.seq.shape_library.data[number]
    return decompress_shape(SimpleNamespace(num_samples=int(data[0]), data=np.asarray(data[1:])))
