"""Traveling subjects: people scanned at several sites, and what their scans say about the sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..site_groups import SiteGroups

Table = NDArray[np.float64]


class TravelerError(ValueError):
    """The travels do not connect the sites, or there are too few of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Travels:
    """Which samples are scans of traveling subjects, and the subjects' mean scans per site.

    Attributes
    ----------
    groups
        All samples by site.
    subject
        Subject number of each sample.
    traveling
        Whether the sample's subject was scanned at two sites or more; the others are the cohort.
    """

    groups: SiteGroups
    subject: NDArray[np.intp]
    traveling: NDArray[np.bool_]

    @classmethod
    def of(cls, groups: SiteGroups, subject: NDArray[np.intp]) -> Self:
        """Find the travelers and require that their travels connect all sites.

        Incomplete designs are fine: with a hub and spokes every subject visits the hub and one other site.

        Raises
        ------
        TravelerError
            If a site has no traveler, or the sites fall apart into groups that no traveler links.
        """
        visits = np.zeros((subject.max() + 1, groups.labels.size))
        visits[subject, groups.index] = 1.0
        travels = visits.sum(axis=1) > 1.0
        parts = _linked(visits[travels], groups.labels)
        if len(parts) > 1:
            text = "; ".join(", ".join(part) for part in parts)
            raise TravelerError(
                "site effects can only be told from subjects if travels connect all sites; got "
                f"{int(travels.sum())} traveling subjects and the separate groups [{text}]. "
                "Add a subject that was scanned in two of the groups, or leave sites out."
            )
        return cls(groups=groups, subject=subject, traveling=travels[subject])

    @property
    def travelers(self) -> NDArray[np.intp]:
        """Numbers of the traveling subjects, sorted."""
        found: NDArray[np.intp] = np.unique(self.subject[self.traveling])
        return found

    def means(self, X: Table) -> tuple[Table, NDArray[np.bool_]]:
        """Return each traveler's mean per site (travelers, sites, p), and which of them exist."""
        number = np.searchsorted(self.travelers, self.subject[self.traveling])
        site = self.groups.index[self.traveling]
        shape = (self.travelers.size, self.groups.labels.size)
        sums, counts = np.zeros((*shape, X.shape[1])), np.zeros(shape)
        np.add.at(sums, (number, site), X[self.traveling])
        np.add.at(counts, (number, site), 1.0)
        return sums / np.maximum(counts, 1.0)[:, :, None], counts > 0.0

    def reference(self, name: str | None) -> int | None:
        """Return the number of the reference site.

        Raises
        ------
        ValueError
            If there is no such site.
        """
        if name is None:
            return None
        if str(name) not in self.groups.labels:
            raise ValueError(
                f"reference_site must be one of the sites ({', '.join(self.groups.labels)}); got '{name}'. "
                "Correct the name, or set reference_site=None."
            )
        return int(np.searchsorted(self.groups.labels, str(name)))

    def pairs(self, X: Table, site: int, reference: int | None) -> tuple[Table, Table]:
        """Return scans at a site and what they should be, both (travelers, p).

        The target is the same subject at the reference site, or its mean over all sites, for which the
        subject must have visited all of them.

        Raises
        ------
        TravelerError
            If no traveler has both.
        """
        means, there = self.means(X)
        if reference is None:
            use = there.all(axis=1)
            target = means[use].mean(axis=1)
        else:
            use = there[:, site] & there[:, reference]
            target = means[use, reference]
        if not use.any():
            name = self.groups.labels[site]
            wanted = "all sites" if reference is None else f"'{self.groups.labels[reference]}'"
            raise TravelerError(
                f"site '{name}' must have a traveler who was scanned at {wanted} as well; got none. "
                "Set another reference_site (the hub), or use the traveling-subject GLM."
            )
        return means[use, site], target


def _linked(visits: Table, labels: NDArray[np.str_]) -> list[Sequence[str]]:
    """Return the sites in groups that travels connect."""
    reach = (visits.T @ visits > 0.0) | np.eye(labels.size, dtype=bool)
    for _ in range(labels.size):
        reach = (reach.astype(float) @ reach.astype(float)) > 0.0
    rows = np.unique(reach, axis=0)
    return [labels[row].tolist() for row in rows]
