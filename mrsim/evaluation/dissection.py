r"""What a harmonizer fixed, left, destroyed and invented: a split of its error against the truth.

Every scan i of subject s(i) on site j has raw values R_i, harmonized values H_i, and the truth T_i: what the
same subject gives on the reference scanner, which only a simulation knows. For either X in {R, H} the error
is split by one calibration line against the truth per site,

    X_i - T_i = B_j + g_j w_i + e_i,        w_i = T_i - mean of T over the scans of site j,

fitted by least squares (B_j a value per element, g_j one gain error per site and *group* of elements).
Because the line's parts are orthogonal, mean squares add up exactly:

    MSE = <B_j^2>                        site shift     (the site moves everyone alike)
        + <(g_j - g)^2 w^2>              site gain      (the site stretches differences between people)
        + <g^2 w^2>                      biology        (g < 0: differences of people lost, > 0: inflated)
        + <e^2>                          residue

with g the mean gain error (weighted by <w^2>). The residue of H is split along the residue that R already
had, e^H = k e^R + q with k by least squares: k^2 <(e^R)^2> was *carried* over (noise, subject-specific
distortion), and <q^2> is *invented*: structure that neither the truth, nor the site, nor the raw scan
contained.

    fixed     = site terms of R - site terms of H      (negative: made worse)
    left      = site terms of H
    destroyed = biology lost in H - biology lost in R  (the raw scan may already attenuate)
    invented  = <q^2> + biology inflated in H - inflated in R

Sites that see different people (nested designs) add one question: a shift between sites may be biology. With
s_j the mean of T at site j minus the mean over all scans, what the harmonizer *removed* from the site means,
D_j = B^R_j - B^H_j, is regressed on B^R_j and s_j: D_j = c + f B^R_j + p s_j. The part p is biology between
sites that was taken for a site effect (1 for subtracting the mean of every site); it moves p^2 <s_j^2> from
site shift to biology lost (p < 0: inflated), and the cross term that cannot be shared out is reported as
`confounded`. A crossed design has s_j = 0 and needs none of this. Groups with too few sites for a regression
of their own (a feature on two scanners) share one, each in units of its biology within sites; where that is
too little as well the whole shift is `confounded`.

Groups: every feature is its own group. For images the elements are Fourier coefficients and the groups radial
frequency bands (`image_dissection.py`): blur then appears as loss in the bands it removes. One gain for all
voxels would call that loss invention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .between_sites import Sites, split_between
from .inputs import FloatArray, MetricInputError, check_finite

if TYPE_CHECKING:
    import pandas as pd

Design = Literal["auto", "crossed", "nested"]
TERMS = ("site_shift", "site_gain", "biology_lost", "biology_inflated", "confounded", "carried", "invented")


@dataclass(frozen=True, kw_only=True)
class Dissection:
    """Energies per group (arrays (group,), units of the data squared, summed over the group's elements).

    `raw` and `harmonized` map every name of `TERMS` to its energy; each sums to that image set's mean squared
    error. `biology_energy` is <w^2> of the truth, `retained` the mean gain 1 + g of true differences between
    people in H (1 is right), `retained_raw` the same in R.
    """

    groups: tuple[str, ...]
    raw: dict[str, FloatArray]
    harmonized: dict[str, FloatArray]
    biology_energy: FloatArray
    retained: FloatArray
    retained_raw: FloatArray
    design: str
    n_scans: int
    n_subjects: int
    n_dropped: int

    def pooled(self, *, weights: npt.ArrayLike | None = None) -> dict[str, float]:
        """Return `fixed`, `left`, `destroyed`, `invented`, ... over all groups, as shares of the raw MSE.

        Parameters
        ----------
        weights
            Weight per group; features with different units need one (e.g. 1 / variance of the truth). Default
            1.

        Returns
        -------
        dict
            `fixed`, `left`, `destroyed`, `invented`, `residue_removed` and `confounded` (change) as shares of
            the raw mean squared error; `gap_closed` = 1 - MSE(H) / MSE(R), which equals fixed +
            residue_removed - destroyed - invented - confounded; `biology_lost_share` = energy of true
            differences lost in H over their energy.
        """
        w = np.ones(len(self.groups)) if weights is None else np.asarray(weights, dtype=np.float64)
        raw = {name: float(w @ self.raw[name]) for name in TERMS}
        new = {name: float(w @ self.harmonized[name]) for name in TERMS}
        total = sum(raw.values())
        scale = 1.0 / total if total > 0.0 else float("nan")
        site_raw, site_new = (d["site_shift"] + d["site_gain"] for d in (raw, new))
        energy = float(w @ self.biology_energy)
        return {
            "fixed": scale * (site_raw - site_new),
            "left": scale * site_new,
            "destroyed": scale * (new["biology_lost"] - raw["biology_lost"]),
            "invented": scale * (new["invented"] + new["biology_inflated"] - raw["biology_inflated"]),
            "residue_removed": scale * (raw["carried"] - new["carried"]),
            "confounded": scale * (new["confounded"] - raw["confounded"]),
            "gap_closed": 1.0 - scale * sum(new.values()),
            "biology_lost_share": new["biology_lost"] / energy if energy > 0.0 else float("nan"),
        }

    def table(self) -> pd.DataFrame:
        """Return one row per group: every term of H, `<term>_raw` of R, `biology_energy`, `retained`, ..."""
        import pandas as pd

        columns: dict[str, Any] = {"group": list(self.groups)}
        columns |= {name: self.harmonized[name] for name in TERMS}
        columns |= {f"{name}_raw": self.raw[name] for name in TERMS}
        columns |= {"biology_energy": self.biology_energy, "retained": self.retained}
        columns |= {"retained_raw": self.retained_raw}
        return pd.DataFrame(columns)


def dissect(
    raw: npt.ArrayLike,
    harmonized: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    site: npt.ArrayLike,
    subject: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    design: Design = "auto",
) -> Dissection:
    """Split the error of harmonized scans; the module's docstring defines every term.

    Parameters
    ----------
    raw, harmonized, truth
        Arrays (scan, element) in one unit. Bring harmonizers that change units back with one map for *all*
        scans first (`match_set`); a map per scan would itself harmonize.
    site, subject
        Labels per scan.
    groups
        Group label of every element; None: every element its own group, named by its number.
    design
        `crossed`: only subjects seen on every site count; `nested`: all scans, with the between-site biology
        split; `auto`: crossed as soon as two subjects were seen on every site.

    Raises
    ------
    MetricInputError
        If shapes differ, or a site has fewer than two scans, or no two subjects differ.
    """
    r, h, t = (
        check_finite(name, np.asarray(v))
        for name, v in (("raw", raw), ("harmonized", harmonized), ("truth", truth))
    )
    if r.ndim != 2 or r.shape != h.shape or r.shape != t.shape:
        raise MetricInputError(
            f"raw, harmonized and truth must be (scan, element); got {r.shape}, {h.shape}, {t.shape}."
        )
    labels = np.asarray(site)
    people = np.asarray(subject)
    if labels.shape != r.shape[:1] or people.shape != r.shape[:1]:
        raise MetricInputError(f"site and subject must have one label per scan ({r.shape[0]}).")
    crossed, use, dropped = _choose_design(labels, people, design)
    r, h, t, labels = r[use], h[use], t[use], labels[use]
    names, group = _group_codes(groups, r.shape[1])
    codes = np.unique(labels, return_inverse=True)[1]
    if np.bincount(codes).min() < 2:
        raise MetricInputError("every site must have at least two scans; got a site with one.")
    fit_raw, fit_new = (_site_lines(x - t, t, codes, group, len(names)) for x in (r, h))
    raw_terms, new_terms = _terms(fit_raw), _terms(fit_new)
    if not crossed:
        split_between(
            new_terms,
            Sites(truth=t, codes=codes, group=group, weight=fit_raw.weight, energy=fit_raw.energy),
            fit_raw.shift,
            fit_new.shift,
        )
    raw_terms["carried"] = _pool(fit_raw.rest**2, group, len(names))
    raw_terms["invented"] = np.zeros(len(names))
    carry = _ratio(_pool(fit_new.rest * fit_raw.rest, group, len(names)), raw_terms["carried"])
    new_terms["carried"] = carry**2 * raw_terms["carried"]
    new_terms["invented"] = _pool((fit_new.rest - carry[group] * fit_raw.rest) ** 2, group, len(names))
    return Dissection(
        groups=names,
        raw=raw_terms,
        harmonized=new_terms,
        biology_energy=fit_new.energy.sum(axis=0),
        retained=1.0 + fit_new.mean_gain(),
        retained_raw=1.0 + fit_raw.mean_gain(),
        design="crossed" if crossed else "nested",
        n_scans=r.shape[0],
        n_subjects=int(np.unique(people[use]).size),
        n_dropped=dropped,
    )


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """Calibration lines: shift (site, element), gain and energy <w^2> (site, group), rest (scan, element)."""

    shift: FloatArray
    weight: FloatArray
    gain: FloatArray
    energy: FloatArray
    rest: FloatArray
    shift_energy: FloatArray

    def mean_gain(self) -> FloatArray:
        return _ratio(np.sum(self.gain * self.energy, axis=0), self.energy.sum(axis=0))


def _site_lines(
    error: FloatArray, truth: FloatArray, codes: npt.NDArray[np.int64], group: npt.NDArray[np.int64], n: int
) -> _Lines:
    sites = int(codes.max()) + 1
    shift, rest = np.zeros((sites, error.shape[1])), error.copy()
    gain, energy = np.zeros((sites, n)), np.zeros((sites, n))
    weight = np.bincount(codes) / codes.size
    for j in range(sites):
        here = codes == j
        shift[j] = error[here].mean(axis=0)
        centred = truth[here] - truth[here].mean(axis=0)
        moved = error[here] - shift[j]
        power = _pool(centred**2, group, n)
        gain[j] = _ratio(_pool(centred * moved, group, n), power)
        energy[j] = weight[j] * power
        rest[here] = moved - gain[j][group] * centred
    return _Lines(
        shift=shift,
        weight=weight,
        gain=gain,
        energy=energy,
        rest=rest,
        shift_energy=np.bincount(group, weights=weight @ shift**2, minlength=n).astype(np.float64),
    )


def _terms(lines: _Lines) -> dict[str, FloatArray]:
    mean = lines.mean_gain()
    biology = mean**2 * lines.energy.sum(axis=0)
    return {
        "site_shift": lines.shift_energy.copy(),
        "site_gain": np.sum((lines.gain - mean) ** 2 * lines.energy, axis=0),
        "biology_lost": np.where(mean < 0.0, biology, 0.0),
        "biology_inflated": np.where(mean > 0.0, biology, 0.0),
        "confounded": np.zeros(mean.size),
    }


def _choose_design(
    site: npt.NDArray[Any], subject: npt.NDArray[Any], design: str
) -> tuple[bool, npt.NDArray[np.bool_], int]:
    if design not in ("auto", "crossed", "nested"):
        raise MetricInputError(f"design must be 'auto', 'crossed' or 'nested'; got {design!r}.")
    sites, people = np.unique(site), np.unique(subject)
    complete = [p for p in people if np.unique(site[subject == p]).size == sites.size]
    use = np.isin(subject, complete)
    if design == "nested" or (design == "auto" and (len(complete) < 2 or sites.size < 2)):
        return False, np.ones(site.shape, dtype=bool), 0
    if len(complete) < 2:
        raise MetricInputError(f"a crossed design needs 2 subjects seen on every site; got {len(complete)}.")
    return True, use, people.size - len(complete)


def _group_codes(groups: npt.ArrayLike | None, n: int) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    if groups is None:
        return tuple(str(k) for k in range(n)), np.arange(n, dtype=np.int64)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise MetricInputError(f"groups must have one label per element ({n}); got shape {labels.shape}.")
    names, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return tuple(str(names[k]) for k in order), rank[codes]


def _pool(values: FloatArray, group: npt.NDArray[np.int64], n: int) -> FloatArray:
    """Mean over scans, sum over the elements of every group."""
    return np.bincount(group, weights=values.mean(axis=0), minlength=n).astype(np.float64)


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0.0)
