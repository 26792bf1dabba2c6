r"""Spline bases for smooth covariate effects, with the penalty on their curvature, integral of f''(x)^2.

``bspline``: cubic B-splines with quantile knots, the first one left out (site intercepts span the constant).
``thin_plate``: the leading eigenvectors of the thin plate spline in one dimension. Wood SN. Thin plate
regression splines. J R Stat Soc B 65 (2003) 95-114, doi 10.1111/1467-9868.00374.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

_DEGREE = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class BSplineBasis:
    """Cubic B-splines with knots at quantiles; beyond the outer knots they continue as straight lines.

    Attributes
    ----------
    knots
        All knots, the outer ones four times.
    """

    knots: Table

    @classmethod
    def of(cls, x: Table, n_basis: int) -> Self:
        """Place knots for n_basis functions, of which the first is left out."""
        inner = np.quantile(x, np.linspace(0.0, 1.0, n_basis - _DEGREE + 1)[1:-1])
        return cls(knots=np.concatenate([[x.min()] * (_DEGREE + 1), inner, [x.max()] * (_DEGREE + 1)]))

    def design(self, x: Table) -> Table:
        """Return the basis at x, shape (n, n_basis - 1)."""
        low, high = self.knots[0], self.knots[-1]
        inside = np.clip(x, low, high)
        return self._splines(inside, 0) + (x - inside)[:, None] * self._splines(inside, 1)

    def penalty(self) -> Table:
        """Return the matrix of the integrals of products of second derivatives."""
        edges = np.unique(self.knots)
        # Two Gauss points per interval are exact for products of straight lines.
        points = (edges[1:] + edges[:-1]) / 2.0 + np.array([[-1.0], [1.0]]) * np.diff(edges) / np.sqrt(12.0)
        second = self._splines(points.ravel(), 2)
        weights = np.tile(np.diff(edges) / 2.0, 2)
        matrix: Table = second.T @ (weights[:, None] * second)
        return matrix

    def _splines(self, x: Table, order: int) -> Table:
        from scipy.interpolate import BSpline

        n = self.knots.size - _DEGREE - 1
        values: Table = BSpline(self.knots, np.eye(n), _DEGREE)(x, nu=order)[:, 1:]
        return values

    def state(self) -> Table:
        """Return what ``from_state`` needs, as one array."""
        return self.knots

    @classmethod
    def from_state(cls, state: Table) -> Self:
        """Rebuild the basis."""
        return cls(knots=state)


@dataclass(frozen=True, kw_only=True, slots=True)
class ThinPlateBasis:
    """Thin plate regression spline: n_basis - 2 curved functions and the straight line.

    Attributes
    ----------
    centres
        Distinct values of the covariate, shape (m,).
    weights
        Curved functions as sums of radial ones |x - centre|^3 / 12, shape (m, n_basis - 2).
    curvature
        Their penalty matrix.
    """

    centres: Table
    weights: Table
    curvature: Table

    @classmethod
    def of(cls, x: Table, n_basis: int) -> Self:
        """Truncate the full spline to the eigenvectors with the largest eigenvalues."""
        centres = np.unique(x)
        values, vectors = np.linalg.eigh(np.abs(centres[:, None] - centres) ** 3 / 12.0)
        leading = np.argsort(-np.abs(values), kind="stable")[:n_basis]
        kept = vectors[:, leading]
        line = np.column_stack([np.ones_like(centres), centres - centres.mean()])
        # Coefficients orthogonal to straight lines, so that the penalty is the curvature.
        free = np.linalg.qr(kept.T @ line, mode="complete")[0][:, 2:]
        curvature = free.T @ (values[leading, None] * free)
        return cls(centres=centres, weights=kept @ free, curvature=(curvature + curvature.T) / 2.0)

    def design(self, x: Table) -> Table:
        """Return the basis at x, shape (n, n_basis - 1); outside the centres it is a straight line."""
        radial = np.abs(x[:, None] - self.centres) ** 3 / 12.0
        return np.column_stack([radial @ self.weights, x])

    def penalty(self) -> Table:
        """Return the curvature of the basis; the straight line has none."""
        k = self.curvature.shape[0]
        matrix = np.zeros((k + 1, k + 1))
        matrix[:k, :k] = self.curvature
        return matrix

    def state(self) -> Table:
        """Return what ``from_state`` needs, as one array."""
        return np.column_stack([self.centres, self.weights])

    @classmethod
    def from_state(cls, state: Table) -> Self:
        """Rebuild the basis for ``design``; the penalty is not needed any more."""
        k = state.shape[1] - 1
        return cls(centres=state[:, 0], weights=state[:, 1:], curvature=np.zeros((k, k)))


BASES: dict[str, type[BSplineBasis] | type[ThinPlateBasis]] = {
    "bspline": BSplineBasis,
    "thin_plate": ThinPlateBasis,
}
