"""Parts of an ISMRMRD header that only some measurements carry: EPI readouts, multiband, diffusion.

Times become seconds, lengths metres, b-values s/m^2; directions stay in patient axes (L, P, H).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .header import _Reader

__all__ = [
    "Diffusion",
    "EpiReadout",
    "Multiband",
    "parse_diffusion",
    "parse_epi",
    "parse_multiband",
    "user_list",
]

MAX_DIFFUSION = 100_000
_DIMENSIONS = ("average", "contrast", "phase", "repetition", "set", "segment")


@dataclass(frozen=True, kw_only=True, slots=True)
class EpiReadout:
    """Trapezoidal readout of an EPI train (the trajectory description ``ConventionalEPI``), times [s].

    ramp_up, flat_top, ramp_down : gradient;  delay : start of the ramp to the start of the first sample's
    dwell;  dwell : of one sample;  samples : of one line;  navigators : unencoded lines before each train;
    echo_spacing : distance of lines, 0 where not told
    """

    ramp_up: float
    flat_top: float
    ramp_down: float
    delay: float
    dwell: float
    samples: int
    navigators: int = 0
    echo_spacing: float = 0.0

    def positions(self, samples: int, fov: float, length: float) -> NDArray[np.float64]:
        """Positions of a line's samples [1/fov], rising through 0 in the middle of the gradient.

        Parameters
        ----------
        samples
            Number of samples stored.
        fov, length
            Field of view [m] the result counts in, and the extent of k-space [1/m] that the samples cover
            from the first dwell's start to the last dwell's end.
        """
        t = np.asarray(self.delay + (np.arange(samples) + 0.5) * self.dwell, float)
        ends = np.array([self.delay, self.delay + samples * self.dwell])
        middle = 0.5 * (self.ramp_up + self.flat_top + self.ramp_down)
        first, last = self._area(ends)
        scale = length / max(float(last - first), 1e-30)
        return np.asarray((self._area(t) - self._area(np.array([middle]))) * scale * fov)

    def _area(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the trapezoid of unit amplitude up to times t."""
        up, flat, down = self.ramp_up, self.flat_top, self.ramp_down
        rise = np.clip(t, 0, up)
        top = np.clip(t - up, 0, flat)
        fall = np.clip(t - up - flat, 0, down)
        area = top + (0.5 * rise**2 / up if up else 0.0)
        return np.asarray(area + (fall - 0.5 * fall**2 / down if down else 0.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Multiband:
    """Simultaneous slices: their number and the distances of neighbours in a group [m]."""

    factor: int
    gaps: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diffusion:
    """Diffusion weighting along one counter of the acquisitions.

    dimension : counter;  bvalues : (n,) [s/m^2];  directions : (n, 3) unit vectors in patient axes (L, P, H),
    zero where not weighted
    """

    dimension: str
    bvalues: NDArray[np.float64]
    directions: NDArray[np.float64]


def parse_epi(read: _Reader, node: Any) -> EpiReadout | None:
    """Trajectory description of an encoding, None where it is not ``ConventionalEPI``.

    Microseconds throughout, as the converters of two vendors write them.
    """
    where = read.find("trajectoryDescription", node)
    if where is None or read.text("identifier", where) != "ConventionalEPI":
        return None
    found: dict[str, float] = {}
    for element in where:
        if element.tag in ("userParameterLong", "userParameterDouble"):
            name = read.text("name", element)
            found[name] = read.convert(
                read.text("value", element), f"trajectoryDescription/{name}", -1e-9, 1e9
            )
    needed = ("rampUpTime", "rampDownTime", "flatTopTime", "acqDelayTime", "numSamples", "dwellTime")
    if missing := [name for name in needed if name not in found]:
        raise read.fail(f"trajectoryDescription ConventionalEPI lacks {missing}. Add them [us].")
    if not found["dwellTime"] > 0 or not found["flatTopTime"] + found["rampUpTime"] > 0:
        raise read.fail("trajectoryDescription needs a dwellTime and a gradient above 0 us. Correct them.")
    return EpiReadout(
        ramp_up=found["rampUpTime"] * 1e-6,
        flat_top=found["flatTopTime"] * 1e-6,
        ramp_down=found["rampDownTime"] * 1e-6,
        delay=found["acqDelayTime"] * 1e-6,
        dwell=found["dwellTime"] * 1e-6,
        samples=int(found["numSamples"]),
        navigators=int(found.get("numberOfNavigators", 0)),
        echo_spacing=found.get("echoSpacing", 0.0) * 1e-6,
    )


def parse_multiband(read: _Reader, node: Any) -> Multiband | None:
    """Multiband element of an encoding, None for one slice at a time."""
    where = read.find("parallelImaging/multiband", node)
    if where is None:
        return None
    factor = read.integer("multiband_factor", 1, 64, where)
    gaps = []
    for spacing in where:
        if spacing.tag == "spacing":
            gaps += [read.convert((e.text or "").strip(), "dZ", -1e4, 1e4) for e in spacing if e.tag == "dZ"]
    if factor > 1 and len(gaps) < factor - 1:
        raise read.fail(
            f"header field multiband/spacing must hold {factor - 1} distances dZ for {factor} slices; "
            f"got {len(gaps)}. Add them [mm]."
        )
    return Multiband(factor=factor, gaps=tuple(g * 1e-3 for g in gaps[: factor - 1]))


def parse_diffusion(read: _Reader) -> Diffusion | None:
    """Diffusion weighting of the measurement, None where there is none."""
    parent = read.find("sequenceParameters")
    entries = [] if parent is None else [c for c in parent if c.tag == "diffusion"][: MAX_DIFFUSION + 1]
    if not entries:
        return None
    if len(entries) > MAX_DIFFUSION:
        raise read.fail(f"header has more than {MAX_DIFFUSION} diffusion entries. Not plausible, refused.")
    dimension = read.text("diffusionDimension", parent) or "repetition"
    if dimension not in _DIMENSIONS:
        raise read.fail(
            f"diffusionDimension must be one of {_DIMENSIONS}; got {dimension[:40]!r}. Correct it."
        )
    values, directions = [], []
    for entry in entries:
        values.append(read.convert(read.text("bvalue", entry), "diffusion/bvalue", -1e-9, 1e6))
        vector = [
            read.convert(read.text(f"gradientDirection/{axis}", entry), f"gradientDirection/{axis}", -10, 10)
            for axis in ("rl", "ap", "fh")
        ]
        length = math.hypot(*vector)
        directions.append([v / length for v in vector] if length > 1e-6 else [0.0, 0.0, 0.0])
    return Diffusion(
        dimension=dimension, bvalues=np.array(values) * 1e6, directions=np.array(directions, float)
    )


def user_list(parameters: Mapping[str, Any], name: str) -> Any:
    """Return the content of a user parameter that holds JSON, None where it is absent or not JSON."""
    text = parameters.get(name)
    if not isinstance(text, str) or len(text) > 2**20:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
