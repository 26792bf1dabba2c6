"""ComBat-GAM: ComBat with smooth, nonlinear covariate effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities
from ..regression import SiteRegression
from ..site_groups import SiteGroups
from .feature_harmonizer import split_columns
from .location_scale import LocationScaleHarmonizer, MeanModel
from .penalised import PenalisedRegression
from .splines import BASES, BSplineBasis, ThinPlateBasis

Table = NDArray[np.float64]


class ComBatGAM(LocationScaleHarmonizer):
    r"""ComBat whose mean model bends: named covariates act through penalised splines.

    .. math:: m_v(c) = \alpha_v + c \beta_v + \sum_j f_{jv}(x_j), \qquad
        \text{penalty } \sum_j \lambda_{jv} \int f_{jv}''(x)^2 dx

    The penalty of each feature is deterministic: the minimum of generalised cross-validation or of the
    restricted likelihood (neuroHarmonize draws random folds, so two of its runs differ). Outside the ages
    that were fitted the curves continue as straight lines.

    Parameters
    ----------
    smooth
        Name of the covariate with a smooth effect, or several; None: plain ComBat.
    penalty
        "gcv", "reml", or fixed lambda: a number, or one per feature (statsmodels' alpha times two).
    basis
        "bspline": cubic B-splines with knots at quantiles, as in neuroHarmonize; "thin_plate": thin plate
        regression splines, as in mgcv's s(x).
    n_basis
        Functions per smooth covariate, the constant included.
    parametric, mean_only, empirical_bayes, reference_site, constant_features, unseen_site
        See :class:`ComBat`.

    References
    ----------
    Pomponio R et al. Harmonization of large MRI datasets for the analysis of brain imaging patterns
    throughout the lifespan. NeuroImage 208 (2020) 116450, doi 10.1016/j.neuroimage.2019.116450.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        needs_site_labels=True, handles_unseen_site=True, keeps_covariates=True, one_site_identity=True
    )

    def __init__(
        self,
        smooth: str | Sequence[str] | None = None,
        penalty: str | float | Sequence[float] = "gcv",
        basis: str = "bspline",
        n_basis: int = 10,
        parametric: bool = True,
        mean_only: bool = False,
        empirical_bayes: bool = True,
        reference_site: str | None = None,
        constant_features: str = "raise",
        unseen_site: str = "estimate",
    ) -> None:
        super().__init__(
            parametric=parametric,
            mean_only=mean_only,
            empirical_bayes=empirical_bayes,
            reference_site=reference_site,
            constant_features=constant_features,
            unseen_site=unseen_site,
        )
        self.smooth = smooth
        self.penalty = penalty
        self.basis = basis
        self.n_basis = n_basis

    def _mean_model(self, groups: SiteGroups, covariates: Table, columns: list[str]) -> MeanModel:
        names = self._smooth_names()
        unknown = [name for name in names if name not in columns]
        if unknown:
            raise ValueError(
                f"smooth must name numeric covariates ({', '.join(columns) or 'there are none'}); got "
                f"'{unknown[0]}'. Pass that covariate, or correct the name."
            )
        smooth, linear, rest = split_columns(covariates, columns, names)
        bases = [self._place(x, name) for x, name in zip(smooth.T, names, strict=True)]
        for j, basis in enumerate(bases):
            setattr(self, f"basis_{j}_", basis.state())
        self.smooth_columns_ = np.array([columns.index(name) for name in names], dtype=np.intp)
        spline_columns = [f"{name}:{i}" for name in names for i in range(self.n_basis - 1)]
        design = self._design(covariates)
        regression = SiteRegression.prepare(groups.index, design, rest + spline_columns, groups.labels.size)
        if not names:
            return regression
        penalties = _padded([basis.penalty() for basis in bases], linear.shape[1])
        return PenalisedRegression.prepare(regression, penalties, self._penalty(len(names)))

    def _design(self, covariates: Table) -> Table:
        linear = np.delete(covariates, self.smooth_columns_, axis=1)
        kind = BASES[self.basis]
        curves = [
            kind.from_state(getattr(self, f"basis_{j}_")).design(covariates[:, column])
            for j, column in enumerate(self.smooth_columns_)
        ]
        return np.hstack([linear, *curves])

    def _smooth_names(self) -> list[str]:
        return [self.smooth] if isinstance(self.smooth, str) else list(self.smooth or ())

    def _place(self, x: Table, name: str) -> BSplineBasis | ThinPlateBasis:
        if self.basis not in BASES:
            raise ValueError(
                f"basis must be one of {', '.join(BASES)}; got '{self.basis}'. Correct the name."
            )
        distinct = np.unique(x).size
        if not 4 <= self.n_basis <= distinct:
            raise ValueError(
                f"n_basis must be between 4 and the number of distinct values of the covariates column "
                f"'{name}' ({distinct}); got {self.n_basis}. Lower n_basis, or leave '{name}' out of smooth."
            )
        return BASES[self.basis].of(x, self.n_basis)

    def _penalty(self, terms: int) -> Table | str:
        if isinstance(self.penalty, str):
            if self.penalty in ("gcv", "reml"):
                return self.penalty
        else:
            fixed = np.atleast_1d(np.asarray(self.penalty, dtype=np.float64))
            if fixed.ndim == 1 and np.isfinite(fixed).all() and (fixed >= 0.0).all():
                return np.repeat(fixed[:, None], terms, axis=1)
        raise ValueError(
            f"penalty must be 'gcv', 'reml', a number or one number per feature, at least 0; got "
            f"{self.penalty!r:.60}. Use 'gcv' to have it chosen."
        )


def _padded(penalties: Sequence[Table], n_linear: int) -> list[Table]:
    """Place each term's penalty on its own columns of the whole design."""
    sizes = [len(S) for S in penalties]
    total = n_linear + sum(sizes)
    placed, start = [], n_linear
    for S, size in zip(penalties, sizes, strict=True):
        full = np.zeros((total, total))
        full[start : start + size, start : start + size] = S
        placed.append(full)
        start += size
    return placed
