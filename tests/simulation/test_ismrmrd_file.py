"""The raw data file as other software sees it: read back with the ismrmrd package."""

from __future__ import annotations

import ismrmrd
import numpy as np
import pytest

from mrsim.simulation import SimulationOptions, simulate, write_ismrmrd
from phantoms import uniform_sphere
from protocols import load_protocol, load_scanner, read_seq, write_seq

FLAG_NOISE = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
FLAG_CALIBRATION_AND_IMAGING = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    machine = load_scanner("siemens-prisma-3t")
    card = load_protocol("onharmony-prisma-t1w-mprage").at_resolution(8e-3)
    write_seq(folder / "a.seq", card, machine)
    sequence = read_seq(folder / "a.seq")
    sphere = uniform_sphere((41, 43, 39), 4e-3, 0.06, t1=0.83, t2=0.07)
    raw = simulate(
        sphere, sequence, machine, card.prescription(), rng=np.random.default_rng(1),
        options=SimulationOptions(channels=3, tolerance=1e-2),
    )  # fmt: skip
    write_ismrmrd(folder / "raw.h5", raw)
    with ismrmrd.File(folder / "raw.h5", "r") as file:
        dataset = file["dataset"]
        return raw, card, machine, dataset.header, list(dataset.acquisitions)


def test_header_describes_scanner_and_scan(written):
    _, card, machine, header, _ = written
    system, sequence = header.acquisitionSystemInformation, header.sequenceParameters
    assert header.experimentalConditions.H1resonanceFrequency_Hz == round(machine.f0)
    assert (system.systemVendor, system.systemModel) == (machine.manufacturer, machine.model)
    assert system.systemFieldStrength_T == pytest.approx(machine.b0, rel=1e-5)
    assert system.receiverChannels == 3
    assert [c.coilNumber for c in system.coilLabel] == [0, 1, 2]
    tr, ti, te = sequence.TR, sequence.TI, sequence.TE
    assert tr == pytest.approx([2000.0])
    assert ti == pytest.approx([880.0], abs=0.01)
    assert te == pytest.approx([1e3 * card.timing.te], abs=2e-2)
    assert sequence.flipAngle_deg == pytest.approx([8.0], abs=1e-4)
    gamma = {p.name: p.value for p in header.userParameters.userParameterDouble}["gamma_bar_hz_per_t"]
    assert gamma == 42.577478518e6


def test_encoding_spaces_and_limits(written):
    _, card, _, header, _ = written
    encoding = header.encoding[0]
    nx, ny, nz = card.geometry.matrix
    encoded, recon = encoding.encodedSpace, encoding.reconSpace
    assert (encoded.matrixSize.x, encoded.matrixSize.y, encoded.matrixSize.z) == (2 * nx, ny, nz)
    assert (recon.matrixSize.x, recon.matrixSize.y, recon.matrixSize.z) == (nx, ny, nz)
    assert encoded.fieldOfView_mm.x == pytest.approx(2 * recon.fieldOfView_mm.x)
    assert recon.fieldOfView_mm.y == pytest.approx(1e3 * card.geometry.fov[1])
    assert encoding.encodingLimits.kspace_encoding_step_1.center == ny // 2
    assert encoding.encodingLimits.kspace_encoding_step_2.center == nz // 2
    assert encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1 == 2
    assert encoding.parallelImaging.calibrationMode.value == "embedded"
    assert encoding.trajectory.value == "cartesian"


def test_flags_counters_and_samples(written):
    raw, card, _, _, acquisitions = written
    assert acquisitions[0].is_flag_set(FLAG_NOISE)
    assert not any(a.is_flag_set(FLAG_NOISE) for a in acquisitions[1:])
    lines = sorted({a.idx.kspace_encode_step_1 for a in acquisitions[1:]})
    calibration = sorted(
        {a.idx.kspace_encode_step_1 for a in acquisitions if a.is_flag_set(FLAG_CALIBRATION_AND_IMAGING)}
    )
    ny = card.geometry.matrix[1]
    assert set(range(0, ny, 2)) <= set(lines) or set(range(1, ny, 2)) <= set(lines)
    assert calibration
    assert ny // 2 in lines
    assert acquisitions[-1].is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    for i in (0, 5, len(acquisitions) - 1):
        np.testing.assert_array_equal(acquisitions[i].data, raw.data[i])
    readout = acquisitions[3]
    assert readout.sample_time_us == pytest.approx(
        1e6 / (card.readout.bandwidth * 2 * card.geometry.matrix[0]), rel=0.05
    )
    # The echo is asymmetric: its k = 0 sample is named, and holds the largest signal of the central line.
    middle = (ny // 2, card.geometry.matrix[2] // 2)
    central = next(
        a for a in acquisitions[1:] if (a.idx.kspace_encode_step_1, a.idx.kspace_encode_step_2) == middle
    )
    assert abs(int(np.argmax(np.abs(central.data).sum(axis=0))) - central.center_sample) <= 1
    assert central.center_sample < central.number_of_samples // 2


def test_directions_are_lps(written):
    _, card, _, _, acquisitions = written
    prescription = card.prescription()
    a = acquisitions[1]
    np.testing.assert_allclose(list(a.read_dir), prescription.read_dir * [-1, -1, 1], atol=1e-6)
    np.testing.assert_allclose(list(a.slice_dir), prescription.slice_dir * [-1, -1, 1], atol=1e-6)


def test_nothing_is_left_when_writing_fails(written, tmp_path):
    raw = written[0]
    with pytest.raises(OSError, match=r"."):
        write_ismrmrd(tmp_path / "missing" / "raw.h5", raw)
    assert list(tmp_path.iterdir()) == []
