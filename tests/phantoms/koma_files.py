"""Six spins in KomaMRI's format, written field by field."""

import h5py
import numpy as np

from phantoms import PointCloud

RNG = np.random.default_rng(3)
POINTS = RNG.normal(size=(6, 3)) * 0.05
TIMES = np.array([0.0, 0.1, 0.33, 0.5, 0.77, 1.4])


def cloud(**changes):
    values = {
        "name": "six",
        "position": POINTS,
        "m0": RNG.random(6),
        "t1": RNG.random(6) + 1,
        "t2": np.append(RNG.random(5) + 0.1, np.inf),
        "t2_prime": np.append(RNG.random(4) + 0.01, [np.inf, np.inf]),
        "df": RNG.normal(size=6) * 100,
        "adc": RNG.random(6) * 1e-9,
    }
    return PointCloud(**{**values, **changes})


def base(path, **contrast):
    with h5py.File(path, "w") as f:
        f.attrs["Version"], f.attrs["Name"], f.attrs["Ns"], f.attrs["Dims"] = "0.9.1", "six", 6, 3
        for axis, key in enumerate("xyz"):
            f[f"position/{key}"] = POINTS[:, axis]
        f.create_group("contrast")
        for key, value in contrast.items():
            f[f"contrast/{key}"] = value
    return path


def add_motion(path, number, action, time, spins=None):
    """Each part is (type, attributes, datasets)."""
    with h5py.File(path, "r+") as f:
        where = f.require_group(f"motion/motion_{number}")
        for key, part in (("action", action), ("time", time), ("spins", spins or ("AllSpins", {}, {}))):
            kind, attributes, datasets = part
            g = where.create_group(key)
            g.attrs["type"] = kind
            g.attrs.update(attributes)
            for k, v in datasets.items():
                g[k] = v


RAMP = ("TimeRange", {"t_start": 0.0, "t_end": 1.0}, {})
CURVE = ("TimeCurve", {"periodic": "true", "periods": 1.0}, {"t": [0.0, 0.4, 1.0], "t_unit": [0.0, 1.0, 0.0]})
SHIFT = ("Translate", {"dx": 0.01, "dy": 0.0, "dz": -0.02}, {})
TURN = ("Rotate", {"pitch": 10.0, "roll": 20.0, "yaw": 30.0}, {"center": "CenterOfMass"})
