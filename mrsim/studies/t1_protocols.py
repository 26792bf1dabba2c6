"""Cards for T1 mapping of the NIST system phantom: flip angles, flip maps, inversion recovery.

Vendor-native and vendor-neutral protocols follow VENUS (Karakuzu et al., Magn Reson Med 88:1212-1228, 2022,
doi:10.1002/mrm.29292; protocol table in github.com/qMRLab/VENUS, index.md): 3D spoiled gradient echoes of 6
and 20 degrees, TR 32 and 18 ms.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protocols import Protocol

VENUS_INCREMENTS = {"Siemens": 50.0, "GE": 115.4, "Philips": 150.0}
"""RF-spoiling increment of the vendors' own sequences [deg]: VENUS' protocol table for Siemens and GE; for
Philips 150, among those in standard use (Leupold et al. 2025, doi:10.1371/journal.pone.0324455)."""
VENUS_SPOILER = 1000.0
"""Moment that a repetition leaves [1/m]: the spoiler's area of 10 cycles/cm in github.com/qMRLab/mt_sat, and
one cycle per 1 mm voxel. What the vendors' own sequences leave is not published; taken as equal."""
STRONG_SPOILER = 51_000.0
"""Moment at which diffusion of water destroys refocused pathways within TR 40 ms [1/m]: e^-2.8 per interval
for the first order, e^-19 for the second (the strong spoiling of Yarnykh 2010, doi:10.1002/mrm.22394)."""


@dataclass(frozen=True, kw_only=True)
class FlipAngleProtocol:
    """A series of 3D spoiled gradient echoes for T1 mapping.

    Attributes
    ----------
    name : str
        Name of the protocol.
    flips_deg, tr : tuple of float
        Flip angle [deg] and repetition time [s] of each scan.
    te : float
        Echo time [s].
    bandwidth : float
        Receiver bandwidth [Hz/px].
    increment_deg : float
        RF-spoiling increment [deg].
    spoiler : float
        Moment that each repetition leaves along the readout [1/m].
    source : str
        Where the values come from.
    """

    name: str
    flips_deg: tuple[float, ...]
    tr: tuple[float, ...]
    te: float
    bandwidth: float
    increment_deg: float
    spoiler: float
    source: str

    def __post_init__(self) -> None:
        if len(self.flips_deg) != len(self.tr) or len(self.tr) < 2:
            raise ValueError(f"flips_deg and tr must pair up, at least 2; got {self.flips_deg}, {self.tr}.")


_VENUS = FlipAngleProtocol(
    name="venus",
    flips_deg=(6.0, 20.0),
    tr=(32e-3, 18e-3),
    te=4e-3,
    bandwidth=62.5e3 / 256,
    increment_deg=117.0,
    spoiler=VENUS_SPOILER,
    source="VENUS protocol table (github.com/qMRLab/VENUS, index.md); spoiler: mt_sat, SpoilerGradient.spv",
)


def neutral_protocol(*, strongly_spoiled: bool = False) -> FlipAngleProtocol:
    """Return the vendor-neutral protocol of VENUS, or the same with a spoiler that leaves no echoes."""
    if not strongly_spoiled:
        return dataclasses.replace(_VENUS, name="neutral")
    return dataclasses.replace(
        _VENUS, name="neutral-strong", tr=(40e-3, 40e-3), spoiler=STRONG_SPOILER, source="chosen; see spoiler"
    )


def native_protocol(vendor: str) -> FlipAngleProtocol:
    """Return a vendor's own sequence with the nominal values of VENUS: its RF spoiling is its own."""
    if vendor not in VENUS_INCREMENTS:
        raise ValueError(f"vendor must be one of {sorted(VENUS_INCREMENTS)}; got {vendor!r}.")
    return dataclasses.replace(_VENUS, name="native", increment_deg=VENUS_INCREMENTS[vendor])


def reference_protocol() -> FlipAngleProtocol:
    """Return a protocol whose spoiling is complete, for accuracy on an ideal scanner over all 14 vials."""
    flips = (3.0, 6.0, 10.0, 20.0, 40.0, 60.0)
    return FlipAngleProtocol(
        name="reference", flips_deg=flips, tr=(40e-3,) * len(flips), te=4e-3, bandwidth=62.5e3 / 256,
        increment_deg=117.0, spoiler=STRONG_SPOILER, source="chosen; see STRONG_SPOILER",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PlateScan:
    """How the T1 array is imaged: a coronal box around its plane.

    Attributes
    ----------
    voxel_size : float
        Acquired voxels along all axes [m].
    extent : tuple of float
        Least field of view along z (readout), x (phase) and y (partition) [m].
    slab : float
        Thickness that gradient echoes excite [m], by the pulse of VENUS (Hamming sinc of 1.03 ms,
        time-bandwidth product 8); 0: hard pulses on everything, for phantoms with signal in the array only.
    """

    voxel_size: float = 3e-3
    extent: tuple[float, float, float] = (0.132, 0.132, 0.03)
    slab: float = 0.0

    def geometry(self) -> Any:
        """Return the card's geometry, with even matrices."""
        from protocols import Geometry

        size = self.voxel_size
        matrix = [2 * math.ceil(0.5 * length / size - 1e-6) for length in self.extent]
        nx, ny, nz = matrix
        return Geometry(
            orientation="coronal",
            fov=(nx * size, ny * size, nz * size),
            matrix=(nx, ny, nz),
            center=(0.0, 0.0565, 0.0),
        )


def flip_angle_cards(protocol: FlipAngleProtocol, plate: PlateScan, *, settle: float = 8.0) -> list[Protocol]:
    """Cards of a series, one per flip angle.

    Parameters
    ----------
    protocol : FlipAngleProtocol
    plate : PlateScan
    settle : float
        Time of excitations without readout before the first one [s]: four T1 of the slowest vial; the centre
        of k-space follows several seconds later.
    """
    from protocols import Readout, Rf, Timing

    return [
        _card(
            f"{protocol.name}-{flip:g}",
            "gre",
            plate,
            timing=Timing(tr=tr, te=protocol.te, dummy_shots=math.ceil(settle / tr)),
            rf=Rf(
                flip_deg=flip,
                spoil_increment_deg=protocol.increment_deg,
                spoiler_cycles=protocol.spoiler * plate.voxel_size,
            ),
            readout=Readout(bandwidth=protocol.bandwidth),
            source=protocol.source,
        )
        for flip, tr in zip(protocol.flips_deg, protocol.tr, strict=True)
    ]


def double_angle_cards(plate: PlateScan, *, flip_deg: float = 60.0, tr: float = 6.0) -> list[Protocol]:
    """Cards of a double-angle flip map in voxels of twice the size, spoiled by a strong gradient.

    Three T1 of the slowest vial between excitations: what T1 still changes can be corrected with a rough T1.
    """
    pair = FlipAngleProtocol(
        name="double-angle", flips_deg=(flip_deg, 2 * flip_deg), tr=(tr, tr), te=_VENUS.te,
        bandwidth=_VENUS.bandwidth, increment_deg=117.0, spoiler=20_000.0,
        source="chosen: 60 and 120 degrees, corrected for T1 (Insko and Bolinger 1993)",
    )  # fmt: skip
    return flip_angle_cards(pair, dataclasses.replace(plate, voxel_size=2 * plate.voxel_size))


def inversion_cards(
    times: Sequence[float], plate: PlateScan, *, tr: float = 2.55, te: float = 14e-3
) -> list[Protocol]:
    """Cards of an inversion-recovery spin echo, one per inversion time [s]; TR of the RRSG challenge."""
    from protocols import Readout, Rf, Timing

    return [
        _card(
            f"inversion-{n}",
            "tse",
            plate,
            timing=Timing(tr=tr, te=te, ti=ti, dummy_shots=4),
            rf=Rf(flip_deg=90.0, inversion="ideal"),
            readout=Readout(bandwidth=_VENUS.bandwidth),
            source="TR 2550 ms, spin echo: RRSG challenge 2020; TE and inversion times chosen",
        )
        for n, ti in enumerate(times)
    ]


def _card(name: str, sequence: str, plate: PlateScan, *, source: str, **groups: Any) -> Protocol:
    from protocols import Protocol, Provenance

    note = Provenance(source=source, verified=False)
    card = Protocol(
        name=name,
        title=name,
        study="NIST T1",
        scanner="ideal-3t",
        sequence=sequence,  # type: ignore[arg-type]
        suffix="T1w",
        geometry=plate.geometry(),
        provenance=dict.fromkeys(("geometry", "timing", "rf", "readout"), note),
        **groups,
    )
    if sequence != "gre" or not plate.slab:
        return card
    slab = dataclasses.replace(
        card.selection, mode="slab", duration=1.03e-3, time_bandwidth=8.0, thickness=plate.slab
    )
    return dataclasses.replace(card, selection=slab)
