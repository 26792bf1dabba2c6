"""The velocity field that gives every region its prescribed volume."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .deformation import Field, exponential, jacobian, potential_velocity, pull
from .template import Template

FLUID = "sulcal_csf"
"""Region that takes what the intracranial volume leaves."""
_MEMORY = 6
_STEP = 1.0


class VolumeFit:
    """A random field plus an irrotational one whose divergence is iterated until volumes are met.

    The divergence is a(r) f_r(x) summed over the regions r with fractions f_r. The logarithm of a Jacobian is
    the divergence integrated along the flow, so a(r) += ln(target / volume) is a contraction; Anderson's
    method (J ACM 12:547-560, 1965) makes it fast. Volumes are in template units [m^3].

    Parameters
    ----------
    template : Template
        The head.
    wild : ndarray (3, x, y, z)
        Random velocity [m].
    targets : dict
        Volume per region.
    """

    def __init__(self, template: Template, wild: Field, targets: dict[str, float]) -> None:
        self.template, self.wild = template, wild
        self.spacing = template.grid.spacing
        self.regions = tuple(targets)
        self.targets = np.array([targets[r] for r in self.regions])
        # The total volume inside the skull belongs to the prescription too: it absorbs the random field.
        self.total = template.total
        self.amount = np.zeros(len(self.regions) + 1)
        self.amount[:-1] = np.log(self.targets / [template.volumes[r] for r in self.regions])
        # The prescribed part is confined to the inside of the skull, with a soft edge.
        near = ndimage.gaussian_filter(np.clip(template.inside, 0, 1), 1.0)
        self.window = np.clip(near * 4.0, 0.0, 1.0).astype(np.float32)
        self.start = np.stack([template.regions[r] for r in (*self.regions, FLUID)])
        self.moving = self.start
        self.velocity = wild

    def _solve(self) -> None:
        d = np.tensordot(self.amount.astype(np.float32), self.moving, axes=1)
        self.velocity = np.asarray(self.wild + potential_velocity(d, self.spacing) * self.window, np.float32)

    def _miss(self) -> NDArray[np.float64]:
        """Return ln(wanted / got) per region and for the fluid, by the Jacobian."""
        j = jacobian(exponential(self.velocity, self.spacing), self.spacing)
        got = np.array([np.multiply(f, j).sum(dtype=np.float64) for f in self.start]) * self.spacing**3
        inside = float((self.template.inside * j).sum(dtype=np.float64)) * self.spacing**3
        want = np.append(self.targets, max(self.total - inside + got[-1], 1e-6))
        return np.asarray(np.log(want / got))

    def iterate(self, most: int, tolerance: float = 2e-4) -> float:
        """Adjust the divergence until the volumes by the Jacobian are met, at most `most` times.

        Returns the largest remaining log ratio.
        """
        points: list[NDArray[np.float64]] = []
        misses: list[NDArray[np.float64]] = []
        for _ in range(most):
            self._solve()
            miss = self._miss()
            if np.abs(miss).max() < tolerance:
                break
            points, misses = [*points, self.amount][-_MEMORY:], [*misses, miss][-_MEMORY:]
            self.amount = self.amount + _step(points, misses)
        else:
            self._solve()
        return float(np.abs(miss).max())

    def follow(self) -> None:
        """Let the divergence act where the regions are along the flow, not only where they start.

        A stationary field acts at fixed places, but a growing region moves out of its first place; averaging
        over start, middle and end spreads the growth evenly and keeps the map far from folding.
        """
        middle = pull(self.start, exponential(-0.5 * self.velocity, self.spacing), self.spacing)
        end = pull(self.start, exponential(-self.velocity, self.spacing), self.spacing)
        self.moving = 0.25 * self.start + 0.5 * middle + 0.25 * end

    def retarget(self, ratio: dict[str, float], total: float) -> float:
        """Correct the targets by what a measurement on the warped head misses; return the largest log ratio.

        ratio : wanted / measured volume per region;  total : the same of the intracranial volume.
        """
        factor = np.array([ratio[r] for r in self.regions])
        self.total *= total
        self.targets = self.targets * factor
        self.amount[:-1] += np.log(factor)
        return float(max(np.abs(np.log(factor)).max(), abs(math.log(total))))

    def inverse(self) -> Field:
        """Return the displacement of the subject -> template map."""
        return exponential(-self.velocity, self.spacing)


def _step(points: list[NDArray[np.float64]], misses: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return Anderson's step for the fixed point of x + miss(x)."""
    step = misses[-1]
    if len(points) > 1:
        dx, df = np.diff(points, axis=0).T, np.diff(misses, axis=0).T
        mixed, *_ = np.linalg.lstsq(df, misses[-1], rcond=1e-3)
        step = misses[-1] - (dx + df) @ mixed
    return np.asarray(np.clip(step, -_STEP, _STEP))
