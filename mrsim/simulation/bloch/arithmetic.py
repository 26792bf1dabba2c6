"""Sine, cosine, exponential and the two series of a rotation, as branch-free polynomials.

The library functions are scalar calls that keep a loop from being vectorised; these are not. Each is one
Python function with an implementation per precision, chosen by the type of its argument. Phases are in
cycles, so that the reduction is a subtraction.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Floating-point freedom of all kernels: products may fuse, sums may be reordered; NaN and inf stay."""
OPTIONS: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy"}

_f = np.float32
_TAU32 = _f(2 * math.pi)
_TAU64 = 2 * math.pi
_LOG2E = 1 / math.log(2)
_LN2 = math.log(2)


def turn(u: Any) -> Any:
    """Cosine and sine of 2 pi u for u in [-1/2, 1/2]; absolute error 3e-7 in float32, 1e-15 in float64."""
    raise NotImplementedError("only inside compiled code")


def decay(u: Any) -> Any:
    """Exponential exp(-u) for u >= 0; relative error, growing with u, 2e-7 at 1 and 1e-6 at 20 in float32."""
    raise NotImplementedError("only inside compiled code")


def loss(u: Any) -> Any:
    """1 - exp(-u) for u >= 0, to full relative precision however small u is."""
    raise NotImplementedError("only inside compiled code")


def rotation_series(u: Any) -> Any:
    """Return sin(w)/w and (1 - cos w)/w^2 as functions of u = w^2 <= 1, to the precision of u."""
    raise NotImplementedError("only inside compiled code")


def _turn32(u: Any) -> Any:
    v = abs(u)
    w = min(v, _f(0.5) - v) * _TAU32
    q = w * w
    sine = w * (_f(1) + q * (_f(-1 / 6) + q * (_f(1 / 120) + q * (_f(-1 / 5040) + q * (
        _f(1 / 362880) - q * _f(1 / 39916800))))))  # fmt: skip
    cosine = _f(1) + q * (_f(-0.5) + q * (_f(1 / 24) + q * (_f(-1 / 720) + q * (
        _f(1 / 40320) + q * (_f(-1 / 3628800) + q * _f(1 / 479001600))))))  # fmt: skip
    return (-cosine if v > _f(0.25) else cosine), (-sine if u < _f(0) else sine)


def _turn64(u: Any) -> Any:
    v = abs(u)
    w = min(v, 0.5 - v) * _TAU64
    q = w * w
    sine = w * (1 + q * (-1 / 6 + q * (1 / 120 + q * (-1 / 5040 + q * (1 / 362880 + q * (-1 / 39916800 + q * (
        1 / 6227020800 + q * (-1 / 1307674368000 + q * (1 / 355687428096000 + q * (
            -1 / 121645100408832000 + q / 51090942171709440000.0))))))))))  # fmt: skip
    cosine = 1 + q * (-0.5 + q * (1 / 24 + q * (-1 / 720 + q * (1 / 40320 + q * (-1 / 3628800 + q * (
        1 / 479001600 + q * (-1 / 87178291200 + q * (1 / 20922789888000 + q * (
            -1 / 6402373705728000 + q * (
                1 / 2432902008176640000.0 - q / 1124000727777607680000.0))))))))))  # fmt: skip
    return (-cosine if v > 0.25 else cosine), (-sine if u < 0 else sine)


def _decay32(u: Any) -> Any:
    t = min(u * _f(_LOG2E), _f(126))
    k = np.floor(t + _f(0.5))
    f = (k - t) * _f(_LN2)
    p = _f(1) + f * (
        _f(1) + f * (_f(0.5) + f * (_f(1 / 6) + f * (_f(1 / 24) + f * (_f(1 / 120) + f * _f(1 / 720)))))
    )
    exponent = np.int32(127) - np.int32(k)
    return p * np.int32(exponent << np.int32(23)).view(np.float32)


def _decay64(u: Any) -> Any:
    t = min(u * _LOG2E, 1000.0)
    k = np.floor(t + 0.5)
    f = (k - t) * _LN2
    p = 1 + f * (1 + f * (0.5 + f * (1 / 6 + f * (1 / 24 + f * (1 / 120 + f * (1 / 720 + f * (1 / 5040 + f * (
        1 / 40320 + f * (1 / 362880 + f * (
            1 / 3628800 + f * (1 / 39916800 + f / 479001600)))))))))))  # fmt: skip
    exponent = np.int64(1023) - np.int64(k)
    return p * np.int64(exponent << np.int64(52)).view(np.float64)


def _loss32(u: Any) -> Any:
    t = min(u, _f(0.25))
    small = t * (_f(1) - t * (_f(1 / 2) - t * (_f(1 / 6) - t * (
        _f(1 / 24) - t * (_f(1 / 120) - t * _f(1 / 720))))))  # fmt: skip
    return small if u < _f(0.25) else _f(1) - decay(u)


def _loss64(u: Any) -> Any:
    t = min(u, 0.25)
    small = t * (1 - t * (1 / 2 - t * (1 / 6 - t * (1 / 24 - t * (1 / 120 - t * (1 / 720 - t * (
        1 / 5040 - t * (1 / 40320 - t * (1 / 362880 - t * (1 / 3628800 - t / 39916800))))))))))  # fmt: skip
    return small if u < 0.25 else 1.0 - decay(u)


def _series32(u: Any) -> Any:
    q = u
    s = _f(1) + q * (_f(-1 / 6) + q * (_f(1 / 120) + q * (_f(-1 / 5040) + q * _f(1 / 362880))))
    c = _f(0.5) + q * (_f(-1 / 24) + q * (_f(1 / 720) + q * (_f(-1 / 40320) + q * _f(1 / 3628800))))
    return s, c


def _series64(u: Any) -> Any:
    q = u
    s = 1 + q * (-1 / 6 + q * (1 / 120 + q * (-1 / 5040 + q * (1 / 362880 + q * (-1 / 39916800 + q * (
        1 / 6227020800 + q * (-1 / 1307674368000 + q / 355687428096000)))))))  # fmt: skip
    c = 0.5 + q * (-1 / 24 + q * (1 / 720 + q * (-1 / 40320 + q * (1 / 3628800 + q * (-1 / 479001600 + q * (
        1 / 87178291200 + q * (-1 / 20922789888000 + q / 6402373705728000)))))))  # fmt: skip
    return s, c


def _by_precision(stub: Any, single: Any, double: Any) -> None:
    @overload(stub, jit_options=OPTIONS)  # type: ignore[untyped-decorator]
    def choose(u: Any) -> Any:
        return single if u == types.float32 else double


_by_precision(turn, _turn32, _turn64)
_by_precision(decay, _decay32, _decay64)
_by_precision(loss, _loss32, _loss64)
_by_precision(rotation_series, _series32, _series64)
