"""Value groups of a card for several contrasts in one scan, for designed refocusing trains and for series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..records import require


@dataclass(frozen=True, kw_only=True)
class Echoes:
    """Several echoes of one excitation, each with its own image (label ECO).

    Attributes
    ----------
    count : int
        Echoes.
    spacing : float or None
        Echo to echo [s]; needed where `count` > 1.
    polarity : {'monopolar', 'bipolar'}
        Gradient echoes: all lines in one direction with flyback between them, or every second line
        backwards (label REV). Spin echoes are monopolar.
    """

    count: int = 1
    spacing: float | None = None
    polarity: Literal["monopolar", "bipolar"] = "monopolar"

    def __post_init__(self) -> None:
        require(
            "echoes",
            [
                (1 <= self.count <= 256, f"count must be 1..256; got {self.count}"),
                (
                    self.count == 1 or self.spacing is not None,
                    "spacing must be given where count > 1",
                ),
                (
                    self.spacing is None or 1e-4 <= self.spacing <= 1,
                    f"spacing must be 1e-4..1 s; got {self.spacing}. Give seconds.",
                ),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class RefocusingDesign:
    """How the refocusing angles of a spin-echo train come about.

    Attributes
    ----------
    scheme : {'points', 'prescribed'}
        'points' joins the control points ``rf.refocusing_deg``. 'prescribed' computes the angles that give a
        prescribed signal: the pseudo-steady states of three angles, reached at the minimum, at the k-space
        centre and at the end of the train.
    minimum_deg, center_deg, maximum_deg : float
        The three angles [deg].
    """

    scheme: Literal["points", "prescribed"] = "points"
    minimum_deg: float = 25.0
    center_deg: float = 60.0
    maximum_deg: float = 120.0

    def __post_init__(self) -> None:
        angles = (self.minimum_deg, self.center_deg, self.maximum_deg)
        require(
            "refocusing",
            [
                (
                    all(5 <= a <= 180 for a in angles) and list(angles) == sorted(angles),
                    "minimum_deg, center_deg and maximum_deg must be 5..180 deg and not fall; "
                    f"got {', '.join(f'{a:g}' for a in angles)}",
                )
            ],
        )


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values that differ between the scans of a quantitative series; `series_cards` makes the cards.

    Attributes
    ----------
    flip_deg : tuple of float
        Flip angles of a variable-flip-angle series [deg].
    ti : tuple of float
        Inversion times of an inversion-recovery series [s].
    """

    flip_deg: tuple[float, ...] = ()
    ti: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(
            "series",
            [
                (
                    not (self.flip_deg and self.ti),
                    "flip_deg and ti must not both be given: a series varies one value",
                ),
                (
                    all(0 < a <= 180 for a in self.flip_deg),
                    f"flip_deg must be 0..180 deg each; got {self.flip_deg}",
                ),
                (all(0 < t <= 60 for t in self.ti), f"ti must be 0..60 s each; got {self.ti}"),
            ],
        )
