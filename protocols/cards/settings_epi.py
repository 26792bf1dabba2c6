"""Value groups of cards for echo-planar, diffusion, radial and spiral scans; SI, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..records import require
from .settings import Selection


@dataclass(frozen=True, kw_only=True)
class Epi:
    """Echo-planar readout and the series it is played in.

    Attributes
    ----------
    spin_echo : bool
        Refocusing pulse at TE/2; otherwise a gradient echo.
    ramp_sampling : bool
        Sample on the ramps of the readout too; otherwise on the flat tops only.
    navigator : bool
        Three lines of alternating polarity through the k-space centre in front of each train.
    shots : int
        Interleaved segments per volume.
    volumes : int
        Repetitions (label REP); for a diffusion series they follow from its table.
    phase_polarity : tuple of int
        Direction of the blips per volume, +1 (k ascending) or -1, repeated as often as needed.
    fat_saturation : bool
        Spectrally selective saturation with a spoiler in front of each excitation.
    reference_scan : bool
        Calibration in front of the series: every slice alone, phase fully sampled in as many shots as lines
        are skipped, with the echo spacing in physical time and k that the series has.
    multiband : int
        Slices excited together.
    caipi_shift : int
        Neighbouring bands appear shifted by FOV / caipi_shift; 1 = no shift.
    band_phases : {'equal', 'schroeder'}
        RF phase of the bands: all zero, or pi b^2 / bands, which lowers the peak (Schroeder 1970,
        doi:10.1109/TIT.1970.1054411).
    peak_b1 : float or None
        Largest RF amplitude that the transmitter can play [T]; None sets no limit.
    """

    spin_echo: bool = False
    ramp_sampling: bool = True
    navigator: bool = True
    shots: int = 1
    volumes: int = 1
    phase_polarity: tuple[int, ...] = (1,)
    fat_saturation: bool = False
    reference_scan: bool = False
    multiband: int = 1
    caipi_shift: int = 1
    band_phases: Literal["equal", "schroeder"] = "schroeder"
    peak_b1: float | None = None

    def __post_init__(self) -> None:
        require(
            "epi",
            [
                (1 <= self.shots <= 64, f"shots must be 1..64; got {self.shots}"),
                (1 <= self.volumes <= 10000, f"volumes must be 1..10000; got {self.volumes}"),
                (
                    len(self.phase_polarity) > 0 and set(self.phase_polarity) <= {1, -1},
                    f"phase_polarity must hold 1 and -1 only; got {self.phase_polarity}",
                ),
                (1 <= self.multiband <= 16, f"multiband must be 1..16; got {self.multiband}"),
                (
                    self.peak_b1 is None or 1e-7 <= self.peak_b1 <= 1e-3,
                    f"peak_b1 must be 1e-7..1e-3 T; got {self.peak_b1}",
                ),
                (1 <= self.caipi_shift <= 8, f"caipi_shift must be 1..8; got {self.caipi_shift}"),
                (
                    self.multiband > 1 or self.caipi_shift == 1,
                    f"caipi_shift must be 1 without multiband; got {self.caipi_shift}",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """Diffusion weighting of a spin-echo EPI series.

    Attributes
    ----------
    scheme : {'monopolar', 'bipolar'}
        One refocusing pulse between two lobes (Stejskal and Tanner), or two refocusing pulses with four
        lobes of alternating sign (Reese et al. 2003, doi:10.1002/mrm.10308).
    b_values : tuple of float
        Shells [s/m^2] (1 s/mm^2 = 1e6 s/m^2).
    directions : tuple of int
        Directions per shell.
    b0_volumes : int
        Volumes without diffusion gradients, spread over the series.
    table_b : tuple of float
        Instead of shells: b-value of every volume [s/m^2].
    table_directions : tuple of tuple of float
        Its directions in logical axes (see `read_fsl`); ignored where b is 0.
    minimum_te : bool
        Shorten TE to what the largest b-value needs; otherwise `timing.te` is kept.
    """

    scheme: Literal["monopolar", "bipolar"] = "monopolar"
    b_values: tuple[float, ...] = ()
    directions: tuple[int, ...] = ()
    b0_volumes: int = 1
    table_b: tuple[float, ...] = ()
    table_directions: tuple[tuple[float, float, float], ...] = ()
    minimum_te: bool = False

    def __post_init__(self) -> None:
        values = (*self.b_values, *self.table_b)
        norms = [math.hypot(*v) for v, b in zip(self.table_directions, self.table_b, strict=False) if b > 0]
        require(
            "diffusion",
            [
                (
                    bool(self.b_values) != bool(self.table_b),
                    "b_values or table_b must be given, and only one of them",
                ),
                (
                    len(self.b_values) == len(self.directions),
                    f"directions must have one entry per shell ({len(self.b_values)}); "
                    f"got {len(self.directions)}",
                ),
                (
                    all(1 <= n <= 1024 for n in self.directions),
                    f"directions must be 1..1024 each; got {self.directions}",
                ),
                (0 <= self.b0_volumes <= 1024, f"b0_volumes must be 0..1024; got {self.b0_volumes}"),
                (
                    all(b == 0 or 1e6 <= b <= 1e11 for b in values) and all(b > 0 for b in self.b_values),
                    f"b-values must be 1e6..1e11 s/m^2; got {values}. 1000 s/mm^2 are 1e9 s/m^2.",
                ),
                (
                    len(self.table_b) == len(self.table_directions),
                    f"table_directions must have one entry per volume ({len(self.table_b)}); "
                    f"got {len(self.table_directions)}",
                ),
                (
                    all(abs(n - 1.0) < 1e-3 for n in norms),
                    "table_directions must be unit vectors where b is not 0",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Non-Cartesian sampling.

    Attributes
    ----------
    arms : int
        Radial spokes, or spiral interleaves, per partition.
    order : {'golden', 'uniform'}
        Angle from arm to arm: golden angle, or even division (of a half turn for spokes, of a full turn
        for spirals).
    kooshball : bool
        Spokes over the whole sphere instead of a disc (radial only, cubic matrix).
    edge_density : float
        Spiral: sampling density at the edge of k-space relative to the centre; 1 = Archimedean.
    """

    arms: int
    order: Literal["golden", "uniform"] = "golden"
    kooshball: bool = False
    edge_density: float = 1.0

    def __post_init__(self) -> None:
        require(
            "trajectory",
            [
                (1 <= self.arms <= 100000, f"arms must be 1..100000; got {self.arms}"),
                (0.2 <= self.edge_density <= 1, f"edge_density must be 0.2..1; got {self.edge_density}"),
            ],
        )


def group_rules(
    kind: str,
    selection: Selection,
    epi: Epi | None,
    diffusion: Diffusion | None,
    trajectory: Trajectory | None,
) -> list[tuple[bool, str]]:
    """Rules between these groups and the rest of a card, for `require`."""
    bands = epi.multiband if epi is not None else 1
    return [
        ((kind == "epi") == (epi is not None), f"epi must be given for 'epi', and only there; got {kind!r}"),
        (
            (kind in ("radial", "spiral")) == (trajectory is not None),
            f"trajectory must be given for 'radial' and 'spiral', and only there; got {kind!r}",
        ),
        (kind != "epi" or selection.mode == "slices", f"selection.mode must be 'slices' for {kind!r}"),
        (
            diffusion is None or (epi is not None and epi.spin_echo),
            "epi.spin_echo must be true where diffusion is given",
        ),
        (
            selection.n_slices % bands == 0,
            f"selection.n_slices must be a multiple of epi.multiband ({bands}); got {selection.n_slices}",
        ),
        (
            epi is None or selection.concatenations == 1,
            f"selection.concatenations must be 1 for 'epi'; got {selection.concatenations}",
        ),
        (
            trajectory is None
            or not trajectory.kooshball
            or (kind == "radial" and selection.mode != "slices"),
            "trajectory.kooshball needs 'radial' and no slices",
        ),
    ]
