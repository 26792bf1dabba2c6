"""Synthetic echo trains: closed-form samples at the k that a trapezoidal readout reaches, with delays."""

from dataclasses import dataclass, field

import numpy as np

from . import synthetic
from .synthetic import CALIBRATION, PHASE, REVERSE, Setup

# Flat along the slice axis: a sample does not depend on kz.
OBJECT = (
    ((0.0, 0.0, 0.0), (0.34, 0.36, 1e3), 1e-3),
    ((0.12, -0.10, 0.0), (0.10, 0.14, 1e3), 0.8e-3),
    ((-0.14, 0.12, 0.0), (0.08, 0.06, 1e3), -0.6e-3),
)


@dataclass
class Train:
    """Readout lines [us] and what goes wrong with them.

    delay : shift of the samples along the gradient [samples of the encoded matrix]; offset : phase of
    backward lines [rad]; frequency : off-resonance [Hz]; spacing : echo spacing [s]
    """

    rise: float = 120.0
    flat: float = 300.0
    acquisition_delay: float = 40.0
    dwell: float = 2.5
    delay: float = 0.0
    offset: float = 0.0
    frequency: float = 0.0
    spacing: float = 0.6e-3
    store: bool = True
    navigators: int = 3
    objects: tuple = field(default=OBJECT)

    @property
    def samples(self):
        return round((2 * self.rise + self.flat - 2 * self.acquisition_delay) / self.dwell)

    def line(self, n):
        """k of a forward line [1 / encoded field of view]: from -n / 2 to n / 2, by quadrature."""
        t = np.linspace(0, 2 * self.rise + self.flat, 200_001)
        g = np.clip(np.minimum(t, t[-1] - t) / self.rise, 0, 1)
        area = np.concatenate([[0], np.cumsum(0.5 * (g[1:] + g[:-1]) * np.diff(t))])
        edges = np.interp([self.acquisition_delay, t[-1] - self.acquisition_delay], t, area)
        at = self.acquisition_delay + (np.arange(self.samples) + 0.5) * self.dwell
        return (np.interp(at, t, area) - 0.5 * area[-1]) * n / np.diff(edges)


def signal(k, setup, objects):
    """Samples (coil, point) at k [1/m] (point, 3), scaled as `synthetic.full_kspace`."""
    frequencies, amplitudes = synthetic.coil_waves(setup.coils, np.array(setup.fov))
    flat = frequencies[:, 2] == 0
    parts = np.array(
        [synthetic.ellipsoids(k - f * [1, 1, 0], objects, np.array(setup.fov)) for f in frequencies]
    )
    n = np.prod([setup.matrix[0] * setup.oversampling, *setup.matrix[1:]])
    assert flat.any()
    # Ellipsoids 2e3 slices long: in units of the volume their transform is 2e3 times too large.
    return amplitudes @ parts * np.sqrt(n) / setup.oversampling


def acquisition(values, setup, *, flags=(), trajectory=None, dwell=2.5, center=0, position=0.0, **idx):
    import ismrmrd

    data = np.ascontiguousarray(values, np.complex64)
    a = (
        ismrmrd.Acquisition.from_array(data)
        if trajectory is None
        else ismrmrd.Acquisition.from_array(data, np.ascontiguousarray(trajectory, np.float32))
    )
    for name, value in idx.items():
        setattr(a.idx, name, int(value))
    for name, vector in zip(("read_dir", "phase_dir", "slice_dir"), setup.directions.T, strict=True):
        getattr(a, name)[:] = list(map(float, vector))
    a.position[:] = [float(v) for v in np.asarray(setup.position_mm) + position * setup.directions[:, 2]]
    a.sample_time_us, a.center_sample = dwell, center
    for bit in flags:
        a.setFlag(bit + 1)
    return a


def play(setup, train, lines, *, flags=(), height=0.0, kz=None, objects=None, position=0.0, **idx):
    """Acquisitions of one train: navigators, then `lines` in the order of play, the first one forward.

    kz : partition encoding of each line [1/m]; height : of the slice [m], None: `objects` is a list of
    (height, objects) of slices excited together
    """
    n = setup.matrix[0] * setup.oversampling
    fov = np.array([setup.fov[0] * setup.oversampling, *setup.fov[1:]])
    nominal = train.line(n)
    slices = objects if height is None else [(height, objects or train.objects)]
    middle = setup.matrix[1] // 2
    played = [(None, 1 - i % 2) for i in range(train.navigators)]
    played += [(line, i % 2) for i, line in enumerate(lines)]
    kz = np.zeros(len(lines)) if kz is None else np.asarray(kz)
    result = []
    for number, (line, backward) in enumerate(played):
        ky = 0 if line is None else line - middle
        pz = 0.0 if line is None else float(kz[number - train.navigators])
        along = -nominal if backward else nominal
        true = along + (-train.delay if backward else train.delay)
        k = np.stack([true / fov[0], np.full_like(true, ky / fov[1]), np.full_like(true, 0.0)], axis=-1)
        values = sum(signal(k, setup, o) * np.exp(-2j * np.pi * pz * h) for h, o in slices)
        time = number * train.spacing
        values = values * np.exp(1j * (train.offset * backward - 2 * np.pi * train.frequency * time))
        stored = np.stack([along, np.full_like(along, ky), np.full_like(along, pz * fov[2])], axis=-1)
        result.append(
            acquisition(
                values, setup, trajectory=stored if train.store else None, dwell=train.dwell,
                flags=[*flags, *([PHASE] if line is None else []), *([REVERSE] if backward else [])],
                kspace_encode_step_1=middle if line is None else line, position=position, **idx,
            )
        )  # fmt: skip
    return result


def header(setup, train, *, described=True, extra="", sequence=None):
    """XML of an echo-planar measurement."""
    description = ""
    if described:
        longs = {
            "etl": setup.matrix[1], "numberOfNavigators": train.navigators, "rampUpTime": train.rise,
            "rampDownTime": train.rise, "flatTopTime": train.flat, "echoSpacing": train.spacing * 1e6,
            "acqDelayTime": train.acquisition_delay, "numSamples": train.samples,
        }  # fmt: skip
        items = "".join(
            f"<userParameterLong><name>{k}</name><value>{round(v)}</value></userParameterLong>"
            for k, v in longs.items()
        )
        description = (
            f"<trajectoryDescription><identifier>ConventionalEPI</identifier>{items}<userParameterDouble>"
            f"<name>dwellTime</name><value>{train.dwell}</value></userParameterDouble></trajectoryDescription>"
        )
    changes = {} if sequence is None else {"sequence": sequence}
    text = synthetic.header_xml(setup, **changes)
    text = text.replace("<trajectory>cartesian</trajectory>", f"<trajectory>epi</trajectory>{description}")
    text = text.replace("7.1</echo_spacing>", f"{train.spacing * 1e3}</echo_spacing>")
    return text.replace("</calibrationMode>", "</calibrationMode>" + extra)


def reference(setup, objects=OBJECT):
    """Acquisitions of the same slice as plain Cartesian lines."""
    n = (setup.matrix[0] * setup.oversampling, setup.matrix[1])
    fov = np.array([setup.fov[0] * setup.oversampling, setup.fov[1]])
    kx, ky = ((np.arange(m) - m // 2) / f for m, f in zip(n, fov, strict=True))
    result = []
    for line, y in enumerate(ky):
        k = np.stack([kx, np.full_like(kx, y), np.zeros_like(kx)], axis=-1)
        result.append(
            acquisition(signal(k, setup, objects), setup, kspace_encode_step_1=line, center=n[0] // 2)
        )
    return result


__all__ = ["CALIBRATION", "OBJECT", "Setup", "Train", "acquisition", "header", "play", "reference", "signal"]
