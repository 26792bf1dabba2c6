"""The engine as a whole against sums and closed forms that do not use its tricks."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from mrsim.simulation import (
    Pose,
    Session,
    SimulationOptions,
    UnsupportedSequenceError,
    draw_session,
    simulate,
)
from mrsim.simulation.gradients import GradientSystem
from mrsim.simulation.kspace.histories import Played
from mrsim.simulation.kspace.pulses import Bins
from mrsim.simulation.kspace.train import timeline
from mrsim.simulation.placement import place
from mrsim.simulation.scanned import scan_object
from mrsim.simulation.scanner_gradients import scanner_gradients
from phantoms import Phantom, TissueTable, point_phantom, shepp_logan_3d, uniform_sphere
from phantoms.objects.shepp_logan import EllipsoidPhantom

from .conftest import scanner
from .tiny import Score, hard, readout, spoiled_gre, trapezoid

IDEAL = SimulationOptions(b0=False, b1=False, coils=False, noise=False, tolerance=1e-6)


def run(phantom, sequence, machine, prescription, options=IDEAL, **kw):
    kw.setdefault("gradients", GradientSystem())
    return simulate(
        phantom, sequence, machine, prescription, rng=np.random.default_rng(0), options=options, **kw
    )


def grid_of(raw, shape):
    """Samples of the first coil as k-space (x, y, z)."""
    nx, ny, nz = shape
    return np.stack([d[0] for d in raw.data]).reshape(nz, ny, nx).transpose(2, 1, 0)


def positions_of(raw):
    r = raw.readouts
    return np.stack([r.base[i] + r.offsets[r.pattern[i]] for i in range(r.adc.size)])


def three_tissue_head(spacing=6e-3):
    """Nested ellipsoids of three library tissues, coarse on purpose, off centre."""
    n = (19, 22, 17)
    axes = [(np.arange(m) - (m - 1) / 2) * spacing for m in n]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    r = np.sqrt((x / 0.045) ** 2 + (y / 0.055) ** 2 + (z / 0.04) ** 2)
    maps = np.stack([r < 0.8, (r >= 0.8) & (r < 0.95), (r >= 0.95) & (r < 1.1)]).astype(np.float32)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = [a[0] + 0.004 for a in axes]
    return Phantom(name="nested", tissues=("wm", "csf", "fat"), fractions=maps, affine=affine)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_engine_keeps_the_error_it_states(upright, tolerance):
    """Against the plain sum over voxels, each with its own B1, off-resonance and history.

    Beyond the tolerance, interpolation tables add up to 1e-3 (0.1 rad per entry)."""
    machine = scanner()
    phantom = three_tissue_head()
    options = SimulationOptions(coils=False, noise=False, tolerance=tolerance)
    sequence = spoiled_gre((16, 12, 10), (0.2, 0.19, 0.18), flip_deg=15, dummies=5)
    raw = run(phantom, sequence, machine, upright, options)
    obj = scan_object(phantom, upright, machine, Session(), options)
    assert np.ptp(obj.df[obj.occupied]) > 20
    assert np.ptp(obj.b1[obj.occupied]) > 0.1
    exact = explicit_sum(timeline(sequence, f0=machine.f0), obj, machine)
    got = np.stack([d[0] for d in raw.data])
    error = np.linalg.norm(got - exact) / np.linalg.norm(exact)
    assert error < tolerance + 1e-3
    assert raw.recipe["engine"]["error"] <= tolerance


def histories_of(line, bins):
    """Signal of every readout (readouts, bins), M0 = 1, demodulated with the ADC's phase."""
    played = Played(train=line.train, shapes=line.shapes, direction=np.zeros(3), max_states=256, threads=1)
    readouts = line.readouts
    return played.signals(bins, readouts.pulse) * np.exp(1j * readouts.phase)[:, None]


def explicit_sum(line, obj, machine):
    grid = obj.placed.grid
    y, z, x = np.meshgrid(grid.axis(1), grid.axis(2), grid.axis(0), indexing="ij")
    where = obj.occupied
    place_of = np.stack([x[where], y[where], z[where]], axis=1)
    df, b1 = obj.df[where].astype(float), obj.b1[where].astype(float)
    r = line.readouts
    total = np.zeros((r.adc.size, r.offsets[0].shape[0]), complex)
    time = r.dwell[0] * np.arange(total.shape[1])
    k = r.base[:, None] + np.stack([r.offsets[p] for p in r.pattern])
    weight = grid.voxel_volume * np.prod([1 / np.sinc(k[..., i] * grid.spacing[i]) for i in range(3)], axis=0)
    for t, f in zip(obj.tissues, obj.placed.fractions, strict=True):
        f = f[where]
        use = np.flatnonzero(f > 0)
        ones = np.ones(use.size)
        shift = t.shift_ppm * 1e-6 * machine.f0
        bins = Bins(
            t1=t.t1 * ones, t2=t.t2 * ones, adc=t.adc * ones, b1=b1[use], shift=shift + df[use]
        )  # fmt: skip
        history = histories_of(line, bins) * (t.pd * f[use])
        tau = r.tau[0] + time
        decay = np.exp(
            -(r.since_rf[0] + time)[:, None] / t.t2 - np.abs(tau)[:, None] / t.t2_prime
            - 2j * np.pi * tau[:, None] * (df[use] + shift)
        )  # fmt: skip
        for i in range(r.adc.size):
            phase = np.exp(-2j * np.pi * (k[i] @ place_of[use].T))
            total[i] += np.sum(phase * decay * history[i], axis=1) * weight[i]
    return total


def test_point_object_has_the_point_spread_of_its_k_space(upright, machine):
    """k-space of a point is exp(-2 pi i k r0) times its volume; the image peaks where the point is."""
    shape, fov = (24, 18, 14), (0.24, 0.198, 0.168)
    phantom = point_phantom((0.013, -0.021, 0.008), voxel_size=2.5e-4)
    sequence = spoiled_gre(shape, fov, flip_deg=0.05, dummies=0)
    raw = run(phantom, sequence, machine, upright)
    index = np.argwhere(phantom.fractions[0] > 0)[0]
    r0 = phantom.affine[:3, :3] @ index + phantom.affine[:3, 3]
    k = positions_of(raw)
    expected = np.exp(-2j * np.pi * (k @ r0)) * (2.5e-4) ** 3
    got = np.stack([d[0] for d in raw.data])
    got = got / (got.ravel() @ expected.ravel().conj()) * np.vdot(expected, expected).real
    # 252 pulses of 0.05 degrees change M by 1e-4; the point's own quarter of a millimetre by 1e-4.
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 3e-4
    cube = grid_of(raw, shape)
    image = np.abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(cube))))
    peak = np.array(np.unravel_index(np.argmax(image), image.shape)) - np.array(shape) // 2
    np.testing.assert_array_less(np.abs(peak * np.array(fov) / shape - r0), 0.51 * np.array(fov) / shape)


def test_shepp_logan_k_space_is_the_analytic_one(upright, machine):
    """No relaxation, tiny flip angle. The 0.5 % are aliasing of voxels a third of the acquired ones."""
    shape, fov = (36, 32, 28), (0.216, 0.2, 0.19)
    body = EllipsoidPhantom.shepp_logan(0.18, 3)
    phantom = shepp_logan_3d((96, 96, 96), 0.18 / 96, 0.18)
    sequence = spoiled_gre(shape, fov, flip_deg=0.02, increment_deg=0.0)
    raw = run(phantom, sequence, machine, upright)
    k = positions_of(raw)
    expected = body.kspace(k.reshape(-1, 3)).reshape(k.shape[:2])
    got = np.stack([d[0] for d in raw.data]) / math.sin(math.radians(0.02))
    # The pulse's axis sets one constant phase; its amplitude is right.
    factor = np.vdot(expected, got) / np.vdot(expected, expected)
    assert abs(factor) == pytest.approx(1.0, rel=4e-3)
    error = np.linalg.norm(got / (factor / abs(factor)) - expected) / np.linalg.norm(expected)
    print(f"Shepp-Logan 3-D k-space NRMSE {100 * error:.3f} %")
    assert error < 0.005


def spin_echo(te, tr, shots, use_k=(0.0, 0.0)):
    score = Score()
    unit = 2000.0
    for _ in range(shots):
        score.play(10e-6, rf=hard(90, np.pi / 2))
        score.play(te / 2 - 10e-6, gx=trapezoid(unit, te / 2 - 10e-6))
        score.play(10e-6, rf=hard(180, 0.0, "refocusing"))
        dwell, n = 10e-6, 64
        busy = 1e-3 + 100e-6 + 32.5 * dwell
        score.play(te / 2 - busy - 5e-6)
        # Enough of the unit has been played when the echo centre is reached: readout() prephases to k = 0.
        used = readout(score, use_k, 0.2, n, dwell, 0, 0, spoil=unit, prephase_extra=-unit)
        score.play(tr - te - used + busy - 5e-6)
    return score.sequence(FOV=(0.2, 0.2, 0.2))


def test_spin_echo_of_a_homogeneous_object(upright, machine):
    """[1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)] exp(-TE/T2) for T1 832 T2 80 TR 600 TE 14 ms; 0.5 %."""
    sphere = uniform_sphere((29, 27, 31), 2.5e-3, 0.03, t1=0.832, t2=0.08)
    raw = run(sphere, spin_echo(14e-3, 0.6, 12), machine, upright)
    k = positions_of(raw)[-1]
    centre = int(np.argmin(np.abs(k[:, 0])))
    assert abs(k[centre, 0]) < 1e-6
    volume = sphere.fractions.sum() * sphere.voxel_volume
    assert abs(raw.data[-1][0, centre]) / volume == pytest.approx(0.424424, rel=0.005)


def test_spoiled_gradient_echo_of_a_homogeneous_object(upright, machine):
    """sin a (1-E1)/(1-E1 cos a) exp(-TE/T2*): T1 832 FA 15 TR 7 ms gives 0.051425 before decay; 0.5 %.

    T2 is short (1 ms), so that spoiling is ideal and the closed form applies."""
    sphere = uniform_sphere((21, 19, 23), 4e-3, 0.03, t1=0.832, t2=1e-3)
    sequence = spoiled_gre((16, 4, 3), (0.2, 0.2, 0.2), flip_deg=15, dummies=900)
    raw = run(sphere, sequence, machine, upright)
    k = positions_of(raw)
    line, sample = np.unravel_index(np.argmin(np.linalg.norm(k, axis=-1)), k.shape[:2])
    te = raw.readouts.tau[line] + sample * raw.readouts.dwell[line]
    since = raw.readouts.since_rf[line] + sample * raw.readouts.dwell[line]
    volume = sphere.fractions.sum() * sphere.voxel_volume
    got = abs(raw.data[line][0, sample]) / volume * math.exp(since / 1e-3)
    assert te == pytest.approx(since + 5e-6, abs=1e-9)
    assert got == pytest.approx(0.051425, rel=0.005)


def test_fat_is_displaced_along_the_readout(upright, machine):
    """Chemical shift / bandwidth per pixel = shift in pixels, to 2 % of a pixel (centroid of a sphere)."""
    shape, fov = (48, 10, 8), (0.24, 0.2, 0.16)
    options = SimulationOptions(b0=False, b1=False, coils=False, noise=False, tolerance=1e-5)
    centroid = []
    for shift in (0.0, -3.4):
        sphere = uniform_sphere((25, 25, 25), 3e-3, 0.03)
        tissue = dataclasses.replace(sphere.properties(machine.b0)[0], shift_ppm=shift)
        body = sphere.replace({"table": TissueTable.uniform(tissue)})
        raw = run(
            body, spoiled_gre(shape, fov, flip_deg=0.05, dwell=60e-6, tr=12e-3), machine, upright, options
        )
        image = np.abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(grid_of(raw, shape)))))
        profile = image.sum(axis=(1, 2)) ** 2
        centroid.append(float(np.sum(profile * np.arange(shape[0])) / profile.sum()))
    pixel_bandwidth = 1 / (48 * 60e-6)
    assert centroid[1] - centroid[0] == pytest.approx(-3.4e-6 * machine.f0 / pixel_bandwidth, abs=0.02)


def test_doubling_the_body_doubles_the_signal_and_same_state_gives_same_bytes(upright, machine):
    full = uniform_sphere((21, 19, 23), 4e-3, 0.03, t1=0.8, t2=0.08)
    half = full.replace({"fractions": 0.5 * full.fractions})
    sequence = spoiled_gre((12, 6, 5), (0.2, 0.2, 0.2))
    a, b = (run(p, sequence, machine, upright) for p in (full, half))
    np.testing.assert_allclose(a.data[7], 2 * b.data[7], rtol=1e-4, atol=1e-5 * np.abs(a.data[7]).max())
    noisy = SimulationOptions(tolerance=1e-2)
    c, d = (run(full, sequence, machine, upright, noisy) for _ in range(2))
    assert all(x.tobytes() == y.tobytes() for x, y in zip(c.data, d.data, strict=True))


def test_pose_moves_the_signal_rigidly(upright, machine):
    """A turned and shifted head has the same k = 0 signal and its centre of mass where the pose says."""
    phantom = three_tissue_head(5e-3)
    pose = Pose.draw(
        np.random.default_rng(4), rotation_sd=0.2, translation_sd=5e-3, pivot=np.array([0, 0.01, 0.0])
    )
    flat, turned = place(phantom, upright, Pose.identity()), place(phantom, upright, pose)
    total = [p.fractions.sum(dtype=float) * p.grid.voxel_volume for p in (flat, turned)]
    assert total[1] == pytest.approx(total[0], rel=3e-3)  # trilinear resampling of 5 mm voxels
    centres = []
    for p in (flat, turned):
        y, z, x = np.meshgrid(p.grid.axis(1), p.grid.axis(2), p.grid.axis(0), indexing="ij")
        w = p.fractions.sum(axis=0)
        centres.append(np.array([np.sum(w * a) for a in (x, y, z)]) / w.sum())
    moved = pose.matrix[:3, :3] @ centres[0] + pose.matrix[:3, 3]
    np.testing.assert_allclose(centres[1], moved, atol=1e-4)


def test_a_sagittal_prescription_uses_the_voxels_themselves(machine):
    """Axes that coincide with the phantom's need no interpolation: same values, reordered."""
    from protocols import Prescription

    phantom = three_tissue_head()
    sagittal = Prescription(
        read_dir=np.array([0, 0, -1.0]), phase_dir=np.array([0, 1.0, 0]), slice_dir=np.array([1.0, 0, 0]),
        center=np.array([0.001, -0.002, 0.003]),
    )  # fmt: skip
    placed = place(phantom, sagittal, Pose.identity())
    assert placed.fractions.sum(dtype=float) == phantom.fractions.sum(dtype=float)
    y, z, x = np.meshgrid(placed.grid.axis(1), placed.grid.axis(2), placed.grid.axis(0), indexing="ij")
    logical = np.stack([x, y, z], axis=-1)[placed.fractions[0] > 0.5]
    world = logical @ placed.to_world[:3, :3].T + placed.to_world[:3, 3]
    index = np.argwhere(phantom.fractions[0] > 0.5) @ phantom.affine[:3, :3].T + phantom.affine[:3, 3]
    np.testing.assert_allclose(world.mean(axis=0), index.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.sort(world[:, 2]), np.sort(index[:, 2]), atol=1e-9)


@pytest.mark.parametrize("what", ["field", "dwell"])
def test_signal_to_noise_follows_field_and_bandwidth(upright, what):
    """SNR of the k-space centre: linear in B0 (sample-dominated coils: 1.9 to 2.1 for twice the field),
    and 1/sqrt(bandwidth) exactly. Silent noise samples tell sigma; 2 % is their standard error."""
    sphere = uniform_sphere((19, 19, 19), 8e-3, 0.07, t1=1.0, t2=0.5)
    snr = []
    for factor in (1.0, 2.0):
        machine = scanner(f0=63.9e6 * (factor if what == "field" else 1.0))
        dwell = 10e-6 * (factor if what == "dwell" else 1.0)
        sequence = spoiled_gre((32, 4, 4), (0.3, 0.3, 0.3), dwell=dwell, tr=8e-3, dummies=400)
        options = SimulationOptions(b0=False, b1=False, tolerance=1e-4)
        quiet = run(sphere, sequence, machine, upright, dataclasses.replace(options, noise=False))
        noisy = run(sphere, sequence, machine, upright, options)
        noise = np.stack(noisy.data) - np.stack(quiet.data)
        snr.append(np.abs(np.stack(quiet.data)).max() / noise.std())
    expected, tolerance = (2.0, 0.07) if what == "field" else (math.sqrt(2), 0.02)
    assert snr[1] / snr[0] == pytest.approx(expected, rel=tolerance)


def test_sessions_are_drawn_in_a_fixed_order_and_recorded(machine):
    a, b = (draw_session(machine, np.random.default_rng(9), pivot=np.zeros(3)) for _ in range(2))
    assert a.record() == b.record()
    assert a.b1_scale != 1.0
    assert np.linalg.det(a.pose.rotation) == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"b1_scale must be positive and below 10; got -1"):
        Session(b1_scale=-1)


def test_encoding_that_is_not_rewound_is_refused(upright, machine):
    score = Score()
    for line in range(6):
        score.play(10e-6, rf=hard(10))
        readout(score, (5.0 * line, 0.0), 0.2, 8, 10e-6, line, 0, spoil=500.0)
        score.play(1e-3, gy=trapezoid(37.0 * line + 1.0, 1e-3))
    slow = uniform_sphere((9, 9, 9), 8e-3, 0.03, t1=1.0, t2=0.5)
    with pytest.raises(
        UnsupportedSequenceError, match=r"99 % of the transverse magnetization is left 3\.\d ms"
    ):
        run(slow, score.sequence(), machine, upright)


def test_options_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"tolerance must lie in \[1e-7, 0.5\); got 0.7. Try 1e-3"):
        SimulationOptions(tolerance=0.7)
    with pytest.raises(ValueError, match="channels must be at least 1; got 0"):
        SimulationOptions(channels=0)


def test_a_gradient_that_is_too_strong_makes_the_object_larger(upright):
    """1 % along y: a point at 40 mm appears at 40.4 mm; the phase of k-space tells it exactly."""
    machine = scanner()
    gradients = dataclasses.replace(machine.gradients, scale_error=(0.0, 0.01, 0.0))
    phantom = point_phantom((0.01, 0.04, -0.02), voxel_size=2.5e-4)
    sequence = spoiled_gre((8, 12, 6), (0.2, 0.2, 0.2), flip_deg=0.05)
    exact, wrong = (
        run(phantom, sequence, m, upright, gradients=scanner_gradients(m))
        for m in (machine, machine.replace(gradients=gradients))
    )
    ratio = np.stack([b[0] / a[0] for a, b in zip(exact.data, wrong.data, strict=True)])
    ky = positions_of(exact)[..., 1]
    np.testing.assert_allclose(np.angle(ratio), -2 * np.pi * ky * 0.01 * 0.04, atol=1e-3)
