"""Cards of the families, small: what they are made of, gradient echoes and prepared volumes."""

from __future__ import annotations

import dataclasses
from typing import Any

from protocols import Echoes, Geometry, Protocol, Provenance, Readout, Rf, Timing
from protocols.cards.settings import Selection

CENTER = (0.03, 0.05, 0.02)
"""Of every scan [m]: off the isocentre, where coils and Maxwell terms are felt."""
MACHINE = "siemens-prisma-3t"


def card(kind: str, **groups: Any) -> Protocol:
    """A card of a family; keyword arguments are its groups."""
    source = Provenance(source="test", verified=False)
    names = ("geometry", "timing", "rf", "readout")
    groups.setdefault("suffix", "T1w")
    return Protocol(
        name="family", title="family", study="test", scanner=MACHINE, sequence=kind,
        provenance=dict.fromkeys(names, source), **groups,
    )  # fmt: skip


def volume(*matrix: int, fov=(0.12, 0.11, 0.1)) -> Geometry:
    return Geometry(orientation="axial", fov=fov, matrix=matrix, center=CENTER)


def sliced(*matrix: int, thickness=5e-3) -> Geometry:
    return Geometry(orientation="axial", fov=(0.12, 0.12, thickness), matrix=(*matrix, 1), center=CENTER)


def slices(count=1, **fields: Any) -> Selection:
    values = {"thickness": 5e-3, "gap": 2.5e-3, "duration": 2e-3, "time_bandwidth": 4.0, **fields}
    return Selection(mode="slices", n_slices=count, **values)


SLAB = Selection(mode="slab", thickness=0.03, duration=2e-3, time_bandwidth=6.0)
FAST = Readout(bandwidth=500.0)
EPI = Readout(bandwidth=2000.0, oversampling=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One family: what is played, on which body, and how many spins stand for a voxel in the exact engine.

    protocol : the card;  body : arguments of `clouds`;  spins : per voxel;  real : changes of the body where
    imperfections are on (T2', diffusion);  bloch : further options of the exact engine.
    """

    protocol: Protocol
    body: dict[str, Any]
    spins: int = 1
    real: dict[str, Any] = dataclasses.field(default_factory=dict)
    bloch: dict[str, Any] = dataclasses.field(default_factory=dict)


COARSE = {"spacing": (3e-3, 3.2e-3, 3.4e-3), "extent": 0.04}
THIN = {"spacing": (4e-3, 4.2e-3, 0.5e-3), "extent": (0.033, 0.034, 0.034)}
SHORT = {"t2": 2e-3}
COLUMN = {
    "spacing": (5e-3, 5.2e-3, 0.3e-3), "extent": (0.021, 0.021, 0.02), "tissues": ("wm", "fat"), "t2": 30e-3
}  # fmt: skip


def gradient_echoes() -> dict[str, Family]:
    spoiled = Timing(tr=0.03, te=0.005, dummy_shots=2)
    rf = Rf(flip_deg=20.0, spoiler_cycles=4.0)
    thrice = Echoes(count=3, spacing=3.5e-3)
    steady = {
        "timing": Timing(tr=0.008, te=0.004, dummy_shots=300),
        "rf": Rf(flip_deg=40.0),
        "suffix": "bSSFP",
    }
    echo = Timing(tr=0.05, te=0.004, dummy_shots=2)
    return {
        "GRE 2D, 3 slices": Family(
            protocol=card(
                "gre",
                geometry=sliced(16, 8),
                selection=slices(3),
                rf=rf,
                readout=FAST,
                timing=Timing(tr=0.06, te=0.006, dummy_shots=2),
            ),
            body={**THIN, **SHORT},
        ),
        "GRE 3D": Family(
            protocol=card("gre", geometry=volume(16, 12, 10), timing=spoiled, rf=rf, readout=FAST),
            body={**COARSE, **SHORT},
        ),
        "GRE 3D, slab": Family(
            protocol=card(
                "gre", geometry=volume(16, 8, 8), selection=SLAB, timing=spoiled, rf=rf, readout=FAST
            ),
            body={**COARSE, **SHORT, "spacing": (4e-3, 4.2e-3, 0.8e-3)},
        ),
        "multi-echo GRE, monopolar": Family(
            protocol=card("gre", geometry=volume(16, 10, 8), timing=echo, rf=rf, readout=FAST, echoes=thrice),
            body={**COARSE, "t2": 4e-3},
        ),
        "multi-echo GRE, bipolar": Family(
            protocol=card(
                "gre",
                geometry=volume(16, 10, 8),
                timing=echo,
                rf=rf,
                readout=FAST,
                echoes=dataclasses.replace(thrice, polarity="bipolar"),
            ),
            body={**COARSE, "t2": 4e-3},
        ),
        "bSSFP 3D": Family(
            protocol=card("bssfp", geometry=volume(16, 10, 8), readout=FAST, **steady),
            body=COARSE,
        ),
        "bSSFP 2D": Family(
            protocol=card(
                "bssfp",
                geometry=sliced(16, 8),
                selection=slices(1, duration=1e-3),
                readout=Readout(bandwidth=800.0),
                **steady,
            ),
            body=THIN,
        ),
    }


def prepared() -> dict[str, Family]:
    short = {**COARSE, "t2": 1e-3}
    train = {"echo_spacing": 0.009, "turbo_factor": 8, "dummy_shots": 1}
    rf = Rf(flip_deg=9.0, inversion="hypsec")
    return {
        "MPRAGE": Family(
            protocol=card(
                "mprage",
                geometry=volume(16, 10, 8),
                timing=Timing(tr=0.6, te=0.003, ti=0.3, **train),
                rf=rf,
                readout=FAST,
            ),
            body=short,
        ),
        "MPRAGE, slab": Family(
            protocol=card(
                "mprage",
                geometry=volume(16, 8, 8),
                selection=SLAB,
                timing=Timing(tr=0.6, te=0.004, ti=0.3, **train),
                rf=rf,
                readout=FAST,
            ),
            body={**short, "spacing": (4e-3, 4.2e-3, 0.8e-3)},
        ),
        "MP2RAGE": Family(
            protocol=card(
                "mp2rage",
                geometry=volume(16, 8, 8),
                timing=Timing(tr=1.0, te=0.003, ti=0.25, ti2=0.6, **train),
                rf=dataclasses.replace(rf, flip_deg=5.0, flip2_deg=7.0),
                readout=FAST,
                suffix="MP2RAGE",
            ),
            body=short,
        ),
    }
