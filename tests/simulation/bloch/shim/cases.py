"""Random tables with every operation, as no compiler would write them, and how far results may differ."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mrsim.simulation.bloch.processor import Processor
from mrsim.simulation.bloch.program import Window
from mrsim.simulation.bloch.tables import FREE, PULSE, READ, Ops, Pulses, Spins, Steps

LIMIT = {np.float64: 1e-11, np.float32: 2e-5}
"""Largest difference, relative to the norm. Double: phases of some 100 cycles are rounded to 1e-14 cycles,
and the compilers order sums differently. Single: every step of a pulse rounds to 6e-8; the factor from
sample to sample is rounded to 3e-8, which 100 samples make 3e-6, and more where it changes on a ramp."""


@dataclass(frozen=True)
class Case:
    """What the spins have. ``spins`` is no multiple of a warp, so that blocks end in the middle."""

    spins: int = 301
    fields: int = 4
    coils: int = 0
    silent: bool = False
    pools: bool = False
    walk: bool = False
    path: bool = False


CASES = {
    "plain": Case(),
    "one": Case(spins=1),
    "fields": Case(fields=9, spins=130),
    "coils": Case(coils=4, spins=97),
    "silent": Case(coils=2, spins=70, silent=True),
    "pools": Case(pools=True, spins=65),
    "walk": Case(walk=True, spins=150),
    "path": Case(path=True),
    "all": Case(spins=333, fields=7, coils=2, pools=True, walk=True),
}


def spins_of(case, kind, rng):
    n = case.spins

    def uniform(low, high, *shape):
        return rng.uniform(low, high, shape).astype(kind)

    bound = np.zeros((0, 0), kind)
    if case.pools:
        # m0, rates to and fro, r1, and absorption at two carriers.
        ranges = (0, 0.2), (0, 5), (0, 40), (1, 2), (0, 2e-5), (0, 2e-5)
        bound = np.stack([uniform(low, high, n) for low, high in ranges])
    coil = uniform(-1, 1, case.coils, 2, n)
    if case.silent:
        coil[-1] = 0
    diffusing = case.walk or case.path
    return Spins(
        psi=rng.uniform(-0.1, 0.1, (case.fields, n)), r1=uniform(0.2, 3, n), r2=uniform(3, 60, n),
        m0=uniform(0, 2, n), adc=uniform(0, 3e-9, n) * diffusing, b1=uniform(-1, 1, 2, 2, n),
        coil=coil, bound=bound, key=rng.integers(0, 2**64, n, np.uint64),
    )  # fmt: skip


def pulses_of(case, rng):
    """Two pulses of three runs; in the second run the gradient stands still."""
    lengths, dt = [3, 6, 1, 2, 5, 2], [1e-5, 2e-6, 4e-5, 1e-5, 1e-4, 1e-6]
    total = sum(lengths)
    dphi = rng.uniform(-0.05, 0.05, (total, case.fields))
    dphi[4:9] = dphi[3]
    same = np.zeros(total, bool)
    same[4:9] = True
    return Pulses(
        pulse=np.array([0, 3, 6]), run=np.concatenate([[0], np.cumsum(lengths)]), dt=np.array(dt),
        b1=rng.uniform(-0.3, 0.3, (total, 2)), dphi=dphi, same=same, line=np.array([4, 5]),
    )  # fmt: skip


def window_of(case, pulses, rng):
    """Readouts of 1 to 100 samples, straight and on ramps, some with the step of the one before."""
    plan = [PULSE, FREE, READ, READ, PULSE, READ, FREE, READ, READ, FREE]
    n, d = len(plan), case.fields
    samples = np.array([0, 0, 100, 33, 0, 1, 0, 64, 7, 0])
    walk = np.abs(rng.normal(size=(n, 5))) * [1e-2, 10, 10, 10, 1e5] * (np.array(plan) == FREE)[:, None]
    curve = rng.uniform(-0.05, 0.05, (3, d))
    curve[0] = 0.0
    ops = Ops(
        kind=np.array(plan, np.int8), time=rng.uniform(1e-4, 1e-2, n), dphi=rng.uniform(-1e3, 1e3, (n, d)),
        link=np.array([0, 0, 0, 0, 1, 1, 0, 2, 2, 0]), first=np.cumsum(samples) - samples, samples=samples,
        turn=rng.uniform(0, 1, n), shim=np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
        path=rng.uniform(0, 1e8, n) * case.path, walk=walk if case.walk else np.zeros((0, 5)),
    )  # fmt: skip
    steps = Steps(
        rate=rng.uniform(-3, 3, (3, d)), curve=curve, dwell=rng.uniform(1e-6, 1e-5, 3),
        path=rng.uniform(0, 1e6, 3) * case.path, curved=np.any(curve != 0.0, axis=1),
    )  # fmt: skip
    return Window(
        ops=ops,
        steps=steps,
        samples=int(samples.sum()),
        receiver=np.zeros(0),
        knots=np.zeros(1),
        pulses=pulses,
    )


def as_double(spins):
    """The same values in double precision."""
    return spins._replace(**{
        name: values.astype(float) for name, values in spins._asdict().items() if values.dtype == np.float32
    })  # fmt: skip


def compare(case, kind, make, seed=1):
    """Differences of signals and states over three windows, relative to their norms.

    ``make`` (spins, walk) gives the processor to test. The CPU plays in double precision; spatial factors
    change before the last window, and their number, as for a body that deforms.
    """
    rng = np.random.default_rng(seed)
    spins, pulses = spins_of(case, kind, rng), pulses_of(case, rng)
    wider = replace(case, fields=case.fields + 3)
    tested = make(spins, case.walk)
    proven = Processor(as_double(spins), walk=case.walk, threads=1)
    differences = []
    for window, psi in (
        (window_of(case, pulses, rng), None),
        (window_of(case, pulses, rng), None),
        (window_of(wider, pulses_of(wider, rng), rng), rng.uniform(-0.1, 0.1, (wider.fields, case.spins))),
    ):
        differences.append(apart(tested.play(window, psi), proven.play(window, psi)))
        differences += [apart(a, b) for a, b in zip(tested.state, proven.state, strict=True) if b.size]
    return differences


def apart(got, wanted):
    assert got.shape == wanted.shape
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
