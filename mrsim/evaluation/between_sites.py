"""Biology between sites that see different people: how much of it a harmonizer took for a site effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Who was seen where.

    truth (scan, element); codes (scan,): site of each scan; group (element,); weight (site,): share of the
    scans; energy (site, group): biology within the site.
    """

    truth: FloatArray
    codes: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    weight: FloatArray
    energy: FloatArray

    @property
    def between(self) -> FloatArray:
        """Mean truth of each site minus that of all scans (site, element)."""
        means = self.means
        return np.asarray(means - self.weight @ means)

    @property
    def means(self) -> FloatArray:
        """Mean truth of each site (site, element)."""
        return np.stack([self.truth[self.codes == j].mean(axis=0) for j in range(self.weight.size)])

    @property
    def spread(self) -> FloatArray:
        """Root mean square of the biology within sites, per element of each group (group,)."""
        size = np.bincount(self.group, minlength=self.energy.shape[1])
        return np.asarray(np.sqrt(self.energy.sum(axis=0) / np.maximum(size, 1)))


def split_between(
    terms: dict[str, FloatArray], sites: Sites, raw_shift: FloatArray, new_shift: FloatArray
) -> None:
    """Move the biology between sites that the harmonizer removed out of ``site_shift`` (in place).

    `raw_shift` and `new_shift` are the site shifts (site, element) before and after; what each term means,
    `mrsim.evaluation.dissection` defines.
    """
    root, group, between, means = np.sqrt(sites.weight)[:, None], sites.group, sites.between, sites.means
    parts = (between, raw_shift, raw_shift - new_shift)
    weak: list[int] = []
    for g in range(terms["site_shift"].size):
        own = group == g
        # Scale-free threshold: a balanced nested design has no biology between sites to lose.
        if np.sum((root * between[:, own]) ** 2) <= 1e-20 * np.sum((root * means[:, own]) ** 2):
            continue
        share = _biology_removed(*(v[:, own] for v in parts), weight=sites.weight)
        if share is None:
            weak.append(g)
        else:
            _move(terms, g, share, between[:, own], new_shift[:, own], root)
    if not weak:
        return
    # One share for all groups that are too small by themselves, in one unit.
    spread = sites.spread
    use = np.isin(group, [g for g in weak if spread[g] > 0.0])
    shared = _biology_removed(*(v[:, use] / spread[group[use]] for v in parts), weight=sites.weight)
    for g in weak:
        own = group == g
        if shared is None or spread[g] == 0.0:
            terms["confounded"][g], terms["site_shift"][g] = terms["site_shift"][g], 0.0
        else:
            _move(terms, g, shared, between[:, own], new_shift[:, own], root)


def _biology_removed(
    between: FloatArray, shift: FloatArray, removed: FloatArray, *, weight: FloatArray
) -> float | None:
    """Return p of removed = c + f shift + p between over (site, element); None where it cannot be told."""
    if not between.size:
        return None
    root = np.sqrt(weight)[:, None]
    # One intercept per element: removed by centring, so f and p are shared by the elements.
    columns = [(root * (v - weight @ v)).ravel() for v in (shift, between)]
    design = np.column_stack(columns)
    norms = np.linalg.norm(design, axis=0)
    usable = norms[0] > 0.0
    unit = design[:, [0, 1] if usable else [1]] / (norms if usable else norms[1:])
    if (len(weight) - 1) * between.shape[1] <= unit.shape[1] or np.linalg.cond(unit) > 1e6:
        return None
    response = (root * (removed - weight @ removed)).ravel()
    return float(np.linalg.lstsq(unit, response, rcond=None)[0][-1]) / float(norms[1])


def _move(
    terms: dict[str, FloatArray],
    g: int,
    share: float,
    between: FloatArray,
    shift: FloatArray,
    root: FloatArray,
) -> None:
    """Move `share` of the biology between sites from the site shift of group `g` to biology."""
    biology = share**2 * float(np.sum((root * between) ** 2))
    pure = float(np.sum((root * (shift + share * between)) ** 2))
    terms["confounded"][g] = terms["site_shift"][g] - pure - biology
    terms["site_shift"][g] = pure
    terms["biology_lost" if share > 0.0 else "biology_inflated"][g] += biology
