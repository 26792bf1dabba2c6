"""Synthetic measurements from closed forms: ellipsoids seen by coils that are sums of plane waves.

The k-space of an ellipsoid is known in closed form, and a plane wave only shifts it, so every sample is
exact and shares nothing with the reconstruction's discrete transforms.
"""

from dataclasses import dataclass, field

import numpy as np

NOISE, CALIBRATION, CALIBRATION_AND_IMAGING, REVERSE, PHASE = 18, 19, 20, 21, 23


@dataclass
class Setup:
    """Matrix (read, phase, partition) and field of view [m]; directions and position in LPS."""

    matrix: tuple = (40, 36, 20)
    fov: tuple = (0.20, 0.18, 0.12)
    oversampling: int = 2
    acceleration: int = 1
    acceleration_2: int = 1
    acs: int = 0
    acs_2: int | None = None
    first_line: int = 0
    coils: int = 6
    noise_covariance: np.ndarray | None = None
    noise_scan: int = 0
    noise_dwell_us: float = 5.0
    dwell_us: float = 5.0
    directions: np.ndarray = field(default_factory=lambda: np.eye(3))
    position_mm: tuple = (0.0, 0.0, 0.0)
    recon_matrix: tuple | None = None
    recon_fov: tuple | None = None
    vendor: str = "Test"
    elliptical: bool = False
    three_d: bool = True


# centre [FOV], semi-axes [FOV], density
OBJECT = (
    ((0.0, 0.0, 0.0), (0.36, 0.40, 0.38), 1.0),
    ((0.12, -0.10, 0.05), (0.10, 0.14, 0.12), 0.8),
    ((-0.14, 0.12, -0.08), (0.08, 0.06, 0.15), -0.6),
    ((0.05, 0.2, 0.1), (0.05, 0.05, 0.05), 1.2),
)


def ellipsoids(k, objects, fov):
    """Fourier transform of ellipsoids at k [1/m], shape (..., 3), in units of the field of view's volume."""
    total = np.zeros(k.shape[:-1], complex)
    for centre, axes, density in objects:
        a, c = np.asarray(axes) * fov, np.asarray(centre) * fov
        q = 2 * np.pi * np.sqrt(((k * a) ** 2).sum(-1))
        q = np.maximum(q, 1e-4)
        shape = 3 * (np.sin(q) - q * np.cos(q)) / q**3
        volume = 4 / 3 * np.pi * np.prod(axes)
        total += density * volume * shape * np.exp(-2j * np.pi * (k * c).sum(-1))
    return total


def coil_waves(coils, fov, spread=0.45):
    """Frequencies [1/m] (7, 3) and amplitudes (coil, 7): bright on its own side, with its own phase."""
    frequencies, result = np.zeros((7, 3)), []
    for d in range(3):
        frequencies[1 + 2 * d, d], frequencies[2 + 2 * d, d] = spread / fov[d], -spread / fov[d]
    for c in range(coils):
        angle = 2 * np.pi * c / coils
        side = np.array([np.cos(angle), np.sin(angle), 0.6 * (-1) ** c])
        waves = [0.55 * np.exp(1j * angle)]
        for d in range(3):
            phase = np.exp(-0.5j * np.pi * side[d])
            waves += [0.35 * phase * np.exp(1j * angle), 0.35 * phase.conjugate() * np.exp(1.3j * angle)]
        result.append(waves)
    if coils == 1:
        result = [[1.0, 0, 0, 0, 0, 0, 0]]
    return frequencies, np.array(result)


def sensitivities(waves, positions):
    """Coil sensitivities at positions [m], shape (coil, ...)."""
    frequencies, amplitudes = waves
    return np.tensordot(
        amplitudes, np.exp(2j * np.pi * (frequencies @ positions.reshape(-1, 3).T)), 1
    ).reshape(len(amplitudes), *positions.shape[:-1])


def full_kspace(setup, objects=OBJECT):
    """Complete k-space (coil, kx with oversampling, ky, kz), scaled so that image values are densities."""
    n = (setup.matrix[0] * setup.oversampling, *setup.matrix[1:])
    fov = np.array([setup.fov[0] * setup.oversampling, *setup.fov[1:]])
    axes = [(np.arange(m) - m // 2) / f for m, f in zip(n, fov, strict=True)]
    k = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    base = np.array(setup.fov)
    frequencies, amplitudes = coil_waves(setup.coils, base)
    used = np.flatnonzero(np.abs(amplitudes).sum(0))
    data = np.tensordot(
        amplitudes[:, used], np.array([ellipsoids(k - frequencies[i], objects, base) for i in used]), 1
    )
    # The sum over k of S / volume, in steps of 1 / (oversampled FOV), divided by the unitary 1 / sqrt(n).
    return data * np.sqrt(np.prod(n)) / setup.oversampling


def voxel_positions(shape, fov):
    """Positions [m] of voxel centres along (read, phase, partition): voxel N // 2 is at zero."""
    axes = [(np.arange(m) - m // 2) * f / m for m, f in zip(shape, fov, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def sampling(setup):
    """Lists of (ky, kz, flag) in the order of acquisition."""
    _, ny, nz = setup.matrix
    ry, rz = setup.acceleration, setup.acceleration_2
    oy, oz = (ny // 2) % ry, (nz // 2) % rz
    half_y, half_z = setup.acs // 2, (setup.acs_2 if setup.acs_2 is not None else nz) // 2
    lines = []
    for z in range(nz):
        for y in range(ny):
            if setup.elliptical and ((y - ny // 2) / (ny / 2)) ** 2 + ((z - nz // 2) / (nz / 2)) ** 2 > 1:
                continue
            inside = -half_y <= y - ny // 2 < half_y and -half_z <= z - nz // 2 < max(half_z, 1)
            on = y % ry == oy and z % rz == oz
            if y >= setup.first_line and (on or inside):
                lines.append((y, z, 1 << CALIBRATION_AND_IMAGING if inside and setup.acs else 0))
    return lines


def header_xml(setup, **changes):
    """XML header; keyword arguments replace whole fragments by name."""
    nx, ny, nz = setup.matrix
    fov = [1e3 * f for f in setup.fov]
    recon = setup.recon_matrix or setup.matrix
    seen = [1e3 * f for f in setup.recon_fov or setup.fov]
    parts = {
        "doctype": "",
        "frequency": "<H1resonanceFrequency_Hz>123255000</H1resonanceFrequency_Hz>",
        "encoding": f"""<encoding>
<encodedSpace><matrixSize><x>{nx * setup.oversampling}</x><y>{ny}</y><z>{nz}</z>
</matrixSize><fieldOfView_mm><x>{fov[0] * setup.oversampling}</x><y>{fov[1]}</y>
<z>{fov[2]}</z></fieldOfView_mm>
</encodedSpace>
<reconSpace><matrixSize><x>{recon[0]}</x><y>{recon[1]}</y><z>{recon[2]}</z>
</matrixSize>
<fieldOfView_mm><x>{seen[0]}</x><y>{seen[1]}</y><z>{seen[2]}</z></fieldOfView_mm></reconSpace>
<encodingLimits>
<kspace_encoding_step_1><minimum>0</minimum><maximum>{ny - 1}</maximum>
<center>{ny // 2}</center></kspace_encoding_step_1>
<kspace_encoding_step_2><minimum>0</minimum><maximum>{nz - 1}</maximum>
<center>{nz // 2}</center></kspace_encoding_step_2>
</encodingLimits><trajectory>cartesian</trajectory>
<parallelImaging><accelerationFactor><kspace_encoding_step_1>{setup.acceleration}</kspace_encoding_step_1>
<kspace_encoding_step_2>{setup.acceleration_2}</kspace_encoding_step_2></accelerationFactor>
<calibrationMode>embedded</calibrationMode></parallelImaging></encoding>""",
        "sequence": "<sequenceParameters><TR>2300</TR><TE>2.98</TE><TI>900</TI>"
        "<flipAngle_deg>9</flipAngle_deg><echo_spacing>7.1</echo_spacing></sequenceParameters>",
    }
    parts |= changes
    return f"""<?xml version="1.0"?>{parts["doctype"]}
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<measurementInformation><patientPosition>HFS</patientPosition>
<protocolName>T1w</protocolName></measurementInformation>
<acquisitionSystemInformation><systemVendor>{setup.vendor}</systemVendor><systemModel>Model</systemModel>
<systemFieldStrength_T>2.8949</systemFieldStrength_T><receiverChannels>{setup.coils}</receiverChannels>
<coilLabel><coilNumber>0</coilNumber><coilName>Head_32:H1</coilName></coilLabel>
<coilLabel><coilNumber>1</coilNumber><coilName>Head_32:H2</coilName></coilLabel></acquisitionSystemInformation>
<experimentalConditions>{parts["frequency"]}</experimentalConditions>{parts["encoding"]}{parts["sequence"]}
<userParameters><userParameterDouble><name>seed</name><value>7</value></userParameterDouble></userParameters>
</ismrmrdHeader>"""


def acquisitions(setup, kspace=None, rng=None, lines=None):
    """Records (flags, sample arrays, counters) of a whole measurement as ismrmrd acquisitions."""
    import ismrmrd

    rng = rng or np.random.default_rng(1)
    kspace = full_kspace(setup) if kspace is None else kspace
    coils, nx = kspace.shape[:2]
    mix = None
    if setup.noise_covariance is not None:
        mix = np.linalg.cholesky(setup.noise_covariance)

    def noise(samples, dwell):
        white = rng.standard_normal((2, coils, samples)) / np.sqrt(2)
        return mix @ (white[0] + 1j * white[1]) * np.sqrt(setup.dwell_us / dwell)

    result = []

    def add(data, flags, y, z, dwell):
        a = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, np.complex64))
        a.idx.kspace_encode_step_1, a.idx.kspace_encode_step_2 = y, z
        a.sample_time_us = dwell
        a.center_sample = nx // 2
        for name, vector in zip(("read_dir", "phase_dir", "slice_dir"), setup.directions.T, strict=True):
            getattr(a, name)[:] = list(map(float, vector))
        a.position[:] = list(map(float, setup.position_mm))
        for bit in range(64):
            if flags >> bit & 1:
                a.setFlag(bit + 1)
        result.append(a)

    for _ in range(setup.noise_scan):
        add(noise(nx, setup.noise_dwell_us), 1 << NOISE, 0, 0, setup.noise_dwell_us)
    for y, z, flags in lines if lines is not None else sampling(setup):
        data = kspace[:, :, y, z]
        if mix is not None:
            data = data + noise(nx, setup.dwell_us)
        add(data, flags, y, z, setup.dwell_us)
    return result


def write(path, setup, acqs=None, xml=None, group="dataset"):
    """Write a file through the ismrmrd package (bulk)."""
    import ismrmrd

    acqs = acquisitions(setup) if acqs is None else acqs
    with ismrmrd.File(str(path), "w") as file:
        file[group].acquisitions = acqs
    import h5py

    with h5py.File(path, "a") as file:
        text = header_xml(setup) if xml is None else xml
        file[group].create_dataset(
            "xml", data=np.array([text.encode()], dtype=object), dtype=h5py.special_dtype(vlen=bytes)
        )
    return path


def on_image_grid(data):
    """Undo the canonical order for directions = identity (LPS): image axes (read, phase, partition)."""
    return data[::-1, ::-1]
