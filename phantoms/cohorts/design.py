"""Which site sees whom: designs that confound age, sex and diagnosis with the scanner by a set amount.

Sites are ordered; site k of n has the score t_k = k/(n-1) - 1/2. The strength of confounding is the
correlation ratio between variable and site, the square root of the share of the variance that lies between
sites (for two sites the absolute point-biserial correlation). It is met exactly by the population that the
cohort is drawn from:

* ages are uniform in a window of width w = R/(1+q) whose centre moves by q w over the sites, R the age range,
  q = r / sqrt(12 v (1-r^2)), v the variance of the scores: variance between sites (q w)^2 v, within w^2/12
* shares (of men, of patients) are clip(p + d t_k, 0, 1) with d and a shift such that their mean is p and
  their variance r^2 p (1-p)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["balanced", "confounded", "null", "interaction", "traveling", "unseen"]
MAX_CORRELATION = 0.9
MAX_SITES = 1000


class CohortError(ValueError):
    """A cohort description is not usable."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """Sites, and how age, sex and diagnosis depend on them.

    Parameters
    ----------
    kind : str
        ``balanced``: all sites alike. ``confounded``: by the correlations. ``null``: all effects of age, sex
        and diagnosis are exactly zero; correlations are allowed. ``interaction``: the effect of age differs
        between sites. ``traveling``: everybody is seen at every site. ``unseen``: one site is held out for
        testing.
    sites : tuple of str
        Names, in the order of the scores.
    age, sex, diagnosis : float
        Correlation ratio with the site, 0 to 0.9.
    interaction : float
        With ``interaction``: the age effect is multiplied by 1 + interaction t_k.
    held_out : str
        With ``unseen``: the site whose subjects are for testing only.
    """

    kind: Kind = "balanced"
    sites: tuple[str, ...] = ("site1",)
    age: float = 0.0
    sex: float = 0.0
    diagnosis: float = 0.0
    interaction: float = 0.0
    held_out: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", tuple(self.sites))
        self._check_sites()
        if self.kind not in get_args(Kind):
            raise CohortError(f"design.kind must be one of {get_args(Kind)}; got {self.kind!r}.")
        for name in ("age", "sex", "diagnosis"):
            self._check_correlation(name)
        if not (math.isfinite(self.interaction) and -2 <= self.interaction <= 2):
            raise CohortError(f"design.interaction must be -2..2; got {self.interaction}.")
        if (self.interaction != 0) != (self.kind == "interaction"):
            raise CohortError(
                f"design.interaction must differ from 0 with kind 'interaction' and only there; "
                f"got {self.interaction} with {self.kind!r}."
            )
        if (self.held_out in self.sites) != (self.kind == "unseen") or (
            self.held_out and self.held_out not in self.sites
        ):
            raise CohortError(
                f"design.held_out must name one of {self.sites} with kind 'unseen' and be empty otherwise; "
                f"got {self.held_out!r} with {self.kind!r}."
            )

    def _check_sites(self) -> None:
        good = all(isinstance(s, str) and 0 < len(s) <= 100 and s.isprintable() for s in self.sites)
        if not (1 <= len(self.sites) <= MAX_SITES and good and len(set(self.sites)) == len(self.sites)):
            raise CohortError(f"design.sites must be 1..{MAX_SITES} different names; got {self.sites!r}.")
        if len(self.sites) == 1 and self.kind in ("confounded", "interaction", "unseen", "traveling"):
            raise CohortError(
                f"design.sites must be two or more with kind {self.kind!r}; got {self.sites!r}."
            )

    def _check_correlation(self, name: str) -> None:
        r = getattr(self, name)
        if not (isinstance(r, int | float) and 0 <= r <= MAX_CORRELATION):
            raise CohortError(f"design.{name} must be a correlation from 0 to {MAX_CORRELATION}; got {r!r}.")
        if r > 0 and (self.kind in ("balanced", "traveling") or len(self.sites) < 2):
            raise CohortError(
                f"design.{name} must be 0 with kind {self.kind!r} and {len(self.sites)} site(s); got {r}. "
                "Use kind 'confounded' and two or more sites."
            )

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores t_k of the sites, -0.5 to 0.5 (0 for a single one)."""
        n = len(self.sites)
        return np.zeros(1) if n == 1 else np.arange(n) / (n - 1) - 0.5

    def site_of(self, index: int) -> int:
        """Return the site of subject `index`: by turns, so that adding subjects moves nobody."""
        return index % len(self.sites)

    def age_window(self, site: int, low: float, high: float) -> tuple[float, float]:
        """Return the youngest and oldest age [years] at a site."""
        if self.age == 0:
            return low, high
        q = self.age / math.sqrt(12.0 * float(self.scores.var()) * (1.0 - self.age**2))
        width = (high - low) / (1.0 + q)
        start = low + (float(self.scores[site]) + 0.5) * q * width
        return start, start + width

    @lru_cache(maxsize=256)  # noqa: B019 - a few small, frozen descriptions
    def shares(self, name: Literal["sex", "diagnosis"], p: float) -> NDArray[np.float64]:
        """Return the probability of a man, or of a patient, at every site; `p` is the mean over the sites.

        Raises
        ------
        CohortError
            If shares between 0 and 1 cannot differ enough.
        """
        r = getattr(self, name)
        if r == 0 or p in (0, 1):
            return np.full(len(self.sites), float(p))
        wanted = r * math.sqrt(p * (1 - p))
        low, high = 0.0, 1.0
        while _spread(self._tilted(p, high)) < wanted and high < 1e6:
            high *= 2.0
        if _spread(best := self._tilted(p, high)) < wanted:
            most = _spread(best) / math.sqrt(p * (1 - p))
            raise CohortError(
                f"design.{name} = {r} is out of reach with a share of {p:g} at {len(self.sites)} sites: "
                f"at most {most:.3f}. Use a share of 0.5 and an even number of sites, or less confounding."
            )
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if _spread(self._tilted(p, middle)) < wanted else (low, middle)
        return self._tilted(p, high)

    def _tilted(self, p: float, slope: float) -> NDArray[np.float64]:
        """Return clip(shift + slope t, 0, 1) with mean p."""
        low, high = -slope, 1.0 + slope
        for _ in range(80):
            shift = 0.5 * (low + high)
            low, high = (
                (shift, high) if np.clip(shift + slope * self.scores, 0, 1).mean() < p else (low, shift)
            )
        return np.clip(0.5 * (low + high) + slope * self.scores, 0, 1)

    def age_factor(self, site: int) -> float:
        """Return the multiplier of the age effect at a site."""
        return 1.0 + self.interaction * float(self.scores[site])


def _spread(shares: NDArray[np.float64]) -> float:
    return float(shares.std())
