"""What the kernels read: flat arrays of operations, pulses and spins.

All phases are in cycles, all fields enter as a sum over encoding fields d: the phase that spin i gains during
an operation is ``sum_d dphi[d] psi[d, i]``, with the time integrals ``dphi`` the same for every spin and the
spatial factors ``psi`` constant in time. Linear gradients, their nonlinearity, off-resonance, Maxwell terms,
eddy currents and motion are all of this form, so the kernels know none of them by name.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FREE, PULSE, READ = 0, 1, 2
"""Kinds of operation."""


class Ops(NamedTuple):
    """Operations in play order, one row each; D encoding fields.

    kind : (n,) int8 FREE, PULSE or READ;
    time : (n,) length of a FREE [s]; of a READ, from the state's time to the first sample;
    dphi : (n, D) phase integrals over ``time``;
    link : (n,) number of the pulse of a PULSE; of the sample-to-sample step of a READ;
    first, samples : (n,) first sample and number of samples of a READ;
    turn : (n,) RF phase [cycles] of a PULSE;  shim : (n,) its column of transmit weights;
    path : (n,) b-value of the echo path at the first sample of a READ [s/m^2] (analytic diffusion);
    walk : (n, 5) of a FREE with diffusing spins: duration [s], then per axis x, y, z the time integral of
    the moment still to come [s/m], then its residual square [s/m^2]; else (0, 5).
    """

    kind: np.ndarray
    time: np.ndarray
    dphi: np.ndarray
    link: np.ndarray
    first: np.ndarray
    samples: np.ndarray
    turn: np.ndarray
    shim: np.ndarray
    path: np.ndarray
    walk: np.ndarray


class Steps(NamedTuple):
    """Sample-to-sample steps of readouts, shared by all READ operations with the same one.

    Sample j of a READ has the phase ``dphi + j rate + j (j - 1) / 2 curve`` and decays by exp(-j dwell R2).
    rate, curve : (m, D);  dwell : (m,) [s];  path : (m,) growth of the b-value per sample [s/m^2];
    curved : (m,) whether ``curve`` matters.
    """

    rate: np.ndarray
    curve: np.ndarray
    dwell: np.ndarray
    path: np.ndarray
    curved: np.ndarray


class Pulses(NamedTuple):
    """Distinct RF pulses as runs of equal time steps.

    pulse : (p + 1,) first run of each pulse;  run : (r + 1,) first step of each run;  dt : (r,) its step [s];
    b1 : (s, 2) rotation 2 pi B1 dt of each step [rad], real and imaginary part;
    dphi : (s, D) phase integrals of each step;  same : (s,) whether they equal the step's before;
    line : (p,) row of `Spins.bound` with the absorption of the bound pool at the pulse's carrier.
    """

    pulse: np.ndarray
    run: np.ndarray
    dt: np.ndarray
    b1: np.ndarray
    dphi: np.ndarray
    same: np.ndarray
    line: np.ndarray


class Spins(NamedTuple):
    """Constant properties of N spins (float32 or float64 but for ``psi``).

    psi : (D, N) float64;  r1, r2 : (N,) [1/s];  m0 : (N,);  adc : (N,) [m^2/s];
    b1 : (shims, 2, N) relative transmit field;  coil : (coils, 2, N) receive
    sensitivity, an even number of coils, (0, 2, N) = one coil of 1;
    bound : (4 + k, N) of the bound pool: m0, rate free -> bound, rate bound -> free, r1 [1/s], then the
    absorption lineshape at each carrier offset [s]; (0, 0) without one;
    key : (N,) uint64 that seeds the random walk of each spin.
    """

    psi: np.ndarray
    r1: np.ndarray
    r2: np.ndarray
    m0: np.ndarray
    adc: np.ndarray
    b1: np.ndarray
    coil: np.ndarray
    bound: np.ndarray
    key: np.ndarray


class State(NamedTuple):
    """Magnetization ``m`` (3, N); ``bound`` (N,) or (0,); displacement ``walk`` (3, N) or (3, 0) [m]."""

    m: np.ndarray
    bound: np.ndarray
    walk: np.ndarray


class Maps(NamedTuple):
    """Pulses that are played often, as affine maps of each spin.

    use : (ops,) number of the map that a PULSE takes, -1 = play it step by step;
    make : (k, 3) maps to make first: number, pulse, shim;  table : (maps, 12, N), see `make_map`.
    """

    use: np.ndarray
    make: np.ndarray
    table: np.ndarray


class Work(NamedTuple):
    """Buffers of one block of B spins.

    phase : (B,) float64;  row : (12, B);  psi : (D, B) float64;  tile : (4, 2, B) four samples of every spin.
    """

    phase: np.ndarray
    row: np.ndarray
    psi: np.ndarray
    tile: np.ndarray
