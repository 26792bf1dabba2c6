"""T1 of the simulated NIST system phantom: accuracy on an ideal scanner, agreement between emulated vendors.

Published for comparison (VENUS, doi:10.1002/mrm.29292): differences between vendors of 8 to 19.4 % with their
own sequences and of 0.2 to 5 % with one vendor-neutral sequence, over vials of 0.7 to 2 s.
"""

import dataclasses

import numpy as np
import pytest

from mrsim.evaluation import fit_inversion_recovery, fit_vfa_linear
from mrsim.simulation import Session, SimulationOptions
from mrsim.studies.t1_mapping import PHYSIOLOGICAL, Visit, measure_t1, region, spread_percent
from mrsim.studies.t1_protocols import (
    PlateScan,
    flip_angle_cards,
    inversion_cards,
    native_protocol,
    neutral_protocol,
    reference_protocol,
)
from phantoms import nist_system_phantom, nist_vials
from protocols import load_scanner

VENDORS = ("siemens-prisma-3t", "ge-mr750-3t", "philips-ingenia-3t")
VIALS = nist_vials("t1")
PLATE = PlateScan(extent=(0.132, 0.132, 0.024))
TIMES = (0.015, 0.06, 0.25, 1.0, 3.0)
"""Inversion times from below the shortest to above the longest T1 [s]."""
TOLERANCE = 1e-4
"""Of the engine's signals: two flip angles enlarge an error up to twenty times where TR exceeds T1."""
NODES = 5
"""Transmit fields between which histories are interpolated: signals right to 1e-4 over the body's range."""
PHYSICS = SimulationOptions(coils=False, noise=False, tolerance=TOLERANCE, b1_nodes=NODES)


@pytest.fixture(scope="module")
def phantom():
    return nist_system_phantom(3e-3, arrays=("t1",), fill="silent", fiducials=False)


def visit(phantom, name, options=PHYSICS, seed=1):
    """One day at a scanner whose transmitter has its mean error."""
    scanner = load_scanner(name)
    return Visit(
        phantom=phantom, vials=VIALS, scanner=scanner, options=options, rng=np.random.default_rng(seed),
        session=Session(b1_scale=1.0 + scanner.transmit.calibration_bias),
    )  # fmt: skip


def percent(values):
    return " ".join(f"{v:+.2f}" for v in values)


def test_regions_lie_inside_their_vials(phantom):
    for vial in VIALS[::5]:
        mask = region(vial, phantom.shape, phantom.affine, 5e-3)
        assert 0.8 < mask.sum() * phantom.voxel_volume / (4 / 3 * np.pi * 5e-3**3) < 1.2
        assert phantom.fraction(vial.name)[mask].min() > 0.999


def test_flip_angles_on_an_ideal_scanner(phantom):
    """All 14 vials, 2 s to 22 ms, within 1 % of nominal by the plain Ernst formula.

    Possible because the spoiler is strong enough for diffusion to end every echo path; the cards of clinical
    strength below show what happens otherwise.
    """
    protocol = reference_protocol()
    ideal = visit(phantom, "ideal-3t")
    data = ideal.series(flip_angle_cards(protocol, PLATE))
    nominal = np.array([v.tissue.at(ideal.scanner.b0).t1 for v in VIALS])
    error = 100.0 * (
        fit_vfa_linear(data, np.deg2rad(protocol.flips_deg), protocol.tr[0]).time / nominal - 1.0
    )
    print(f"VFA, ideal scanner, T1 error [%]: {percent(error)}")
    assert np.abs(error).max() < 1.0


def test_inversion_recovery_on_an_ideal_scanner(phantom):
    """All 14 vials within 1 % of nominal; three parameters, magnitudes.

    TR of 6 s, four T2 of the slowest vial: at the 2.55 s of the RRSG challenge its transverse magnetization
    outlives the interval and costs 0.8 %.
    """
    ideal = visit(phantom, "ideal-3t")
    data = ideal.series(inversion_cards(TIMES, PLATE, tr=6.0))
    nominal = np.array([v.tissue.at(ideal.scanner.b0).t1 for v in VIALS])
    fit = fit_inversion_recovery(data, TIMES)
    error = 100.0 * (fit.time / nominal - 1.0)
    print(f"IR, ideal scanner, T1 error [%]: {percent(error)}")
    assert np.abs(error).max() < 1.0


def compare(phantom, options):
    """T1 by the native and the neutral protocol on all vendors, with one flip map per visit."""
    native, neutral = {}, {}
    for name in VENDORS:
        day = visit(phantom, name, options)
        flips = day.double_angle(PLATE)
        native[name] = measure_t1(day, native_protocol(day.scanner.vendor), PLATE, flips=flips)
        neutral[name] = measure_t1(day, neutral_protocol(), PLATE, flips=flips)
    for kind, table in (("native", native), ("neutral", neutral)):
        for name, m in table.items():
            print(f"{kind:8s}{name:20s} as nominal   {percent(100 * (m.t1 / m.nominal - 1))}")
            print(f"{'':28s} with flip map {percent(100 * (m.t1_corrected / m.nominal - 1))}")
    return native, neutral


def check_spread(native, neutral, judged):
    """The claim: native between 8 and 19.4 % over vials 1 to 4, neutral at most 5 % over `judged` ones."""
    own = spread_percent([m.t1 for m in native.values()])
    shared = spread_percent([m.t1_corrected for m in neutral.values()])
    print(f"spread between vendors [%], native:  {percent(own)}")
    print(f"spread between vendors [%], neutral: {percent(shared)}")
    assert own[:PHYSIOLOGICAL].min() >= 8.0
    assert own[:PHYSIOLOGICAL].max() <= 19.4
    assert shared[:judged].max() <= 5.0


def test_vendors_differ_natively_and_agree_with_one_sequence(phantom):
    """Native: own RF spoiling, flip angles taken as nominal. Neutral: one sequence, one flip map method."""
    check_spread(*compare(phantom, PHYSICS), judged=len(VIALS))


@pytest.mark.slow
def test_vendors_with_receive_arrays_noise_and_own_reconstruction(phantom):
    """As above through receive arrays, noise and each vendor's coil combination and window.

    Vials 1 to 4 only: below 60 ms, 6 and 20 degrees at TR 32 and 18 ms turn 0.5 % of noise into 10 % of T1.
    """
    native, neutral = compare(phantom, SimulationOptions(tolerance=TOLERANCE, b1_nodes=NODES))
    check_spread(native, neutral, judged=PHYSIOLOGICAL)


@pytest.mark.slow
def test_strong_spoiling_makes_the_neutral_sequence_accurate(phantom):
    """What is left of the neutral sequence's error is spoiling: with a strong gradient all vendors are right.

    1.5 %: the flip map's large voxels see neighbouring vials.
    """
    protocol = neutral_protocol(strongly_spoiled=True)
    for name in VENDORS:
        found = measure_t1(visit(phantom, name), protocol, PLATE)
        error = 100.0 * (found.t1_corrected / found.nominal - 1.0)
        print(f"{name}: {percent(error)}")
        assert np.abs(error).max() < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("moment", [500.0, 1000.0, 2000.0, 4000.0])
def test_neutral_agreement_does_not_hang_on_the_spoiler(phantom, moment):
    """Vendors' spoiler moments are not published; the agreement of one sequence holds for any."""
    protocol = dataclasses.replace(neutral_protocol(), spoiler=moment)
    found = [measure_t1(visit(phantom, name), protocol, PLATE).t1_corrected for name in VENDORS]
    spread = spread_percent(found)
    print(f"{moment:.0f}/m: {percent(spread)}")
    assert spread.max() <= 5.0
