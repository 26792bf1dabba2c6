"""One group of readouts: its basis, its images and their Fourier transforms."""

from __future__ import annotations

import numpy as np

from .. import maps
from .cascade import Terms
from .drawing import draw_spins
from .encoders import Encoder, encoder_of
from .groups import Group
from .images import form_images
from .modulation import Course, HistoryBasis, Modulation, build_modulation, history_basis
from .scan import Scan, window_grid
from .slices import SliceClass
from .spins import Species, Window
from .table import SpinTable, Table

_SAFETY = 0.2
"""Share of the tolerance that the bases aim at: their weights are estimates of the true spectrum."""
_PLACES = 512
"""Histories at places of the object that stand for all where deviations differ between readouts."""
_SPECTRUM_FLOOR = 1e-2
"""Share of the mean spectral energy that every k-space position counts for at least."""


class Part:
    """One group of readouts of a class."""

    def __init__(
        self, scan: Scan, heard: SliceClass, window: Window, species: Species, group: Group,
        pulse: np.ndarray, share: np.ndarray,
    ) -> None:  # fmt: skip
        self.scan, self.heard, self.window, self.species, self.group = scan, heard, window, species, group
        self.pulse, self.share = pulse, share
        self.phase = np.exp(1j * scan.readouts.phase[group.members])
        self.grid = window_grid(scan.obj.placed.grid, window)
        reached = scan.obj.reached
        part = None if reached is None else reached[(slice(None), *window.part)]
        self.encoder: Encoder = encoder_of(
            self.grid, scan.tracks(group.members), part, tolerance=scan.options.tolerance
        )
        self.course = self._course()

    def _course(self) -> Course:
        found, group = self.scan.deviations, self.group
        if not found.terms:
            return Course(base=np.zeros((group.members.size, 0)), along=np.zeros((*group.tau.shape, 0)))
        return Course(
            base=found.base[group.members], along=np.stack([found.courses[i] for i in group.course])
        )

    def basis(self, sampled: np.ndarray, table: SpinTable) -> HistoryBasis:
        """Curves over the readouts, from the histories (pulses, sample) of sampled bins."""
        # All orders side by side: their histories differ as those of tissues do.
        amplitude = np.hstack(list(sampled[:, self.pulse])) * self.phase[:, None]
        power = np.mean(np.abs(sampled[0][self.pulse]) ** 2, axis=0)
        weights = np.tile(table.sample_weights(self.share), len(sampled))
        kinds = table.species.tissue
        gain = np.array([_mean_power(power, table, t) for t in range(self.share.size if kinds.size else 0)])
        self.rows, self.samples = self._expected(np.sqrt(gain))
        aim = _SAFETY * self.scan.options.tolerance
        amplitude, weights = self._with_deviations(amplitude, weights)
        return history_basis(amplitude, weights, self.rows, 0.3 * aim)

    def _with_deviations(self, amplitude: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Histories at several places of the object where deviations differ between readouts."""
        if not self.window.deviations.size:
            return amplitude, weights
        spins = draw_spins(self.window, self.species, self.share, 64, 3)
        turns = self.course.base @ self.window.deviations[:, spins.voxel]
        if np.ptp(turns, axis=0).max(initial=0.0) < 1e-3 * self.scan.options.tolerance:
            return amplitude, weights
        pick = np.arange(max(amplitude.shape[1], _PLACES))
        rng = np.random.default_rng(4)  # which places stand for all
        bins, places = pick % amplitude.shape[1], rng.integers(0, spins.voxel.size, pick.size)
        turned = np.exp(-2j * np.pi * turns).astype(np.complex64)
        return amplitude[:, bins] * turned[:, places], weights[bins]

    def _expected(self, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signal energy expected in each readout and in each sample along it, mean about 1.

        The spectrum of the object at the tissues' mean signal tells where in k-space accuracy matters; a
        floor keeps the edge of k-space, where noise rules, from being ignored.
        """
        body = np.tensordot(gain.astype(np.float32), self.window.fractions, axes=1).astype(np.complex64)
        readouts, samples = self.encoder.energy(body.reshape(self.window.shape))
        return (
            readouts / max(readouts.mean(), 1e-300) + _SPECTRUM_FLOOR,
            samples / max(samples.mean(), 1e-300) + _SPECTRUM_FLOOR,
        )

    def encode(
        self, basis: HistoryBasis, table: Table, wanted: np.ndarray,
        receiver: maps.Receiver, data: list[np.ndarray], report: dict[str, float],
    ) -> None:  # fmt: skip
        """Form the images and transform them for all coils."""
        column = np.searchsorted(wanted, self.pulse[basis.chosen])
        own = table.some(column, self.phase[basis.chosen])
        slope = self.heard.slope
        aim = _SAFETY * self.scan.options.tolerance
        found = build_modulation(
            self.group, self.course, self.window, self.species, slope, own, basis, self.share, self.rows,
            self.samples, aim, self.scan.options.tolerance,
        )  # fmt: skip
        heard = self.heard
        box = None
        if not self.scan.options.slice_profile and np.isfinite(heard.low):
            box = (heard.low - heard.center, heard.high - heard.center)
        extra = {}
        if self.scan.weighting is not None:
            extra = self.scan.weighting.of(int(self.group.members[0]), self.species, self.window)
        images = form_images(
            found,
            basis,
            self.group,
            self.course,
            self.window,
            self.species,
            slope,
            own,
            box=box,
            threads=self.scan.threads,
            **extra,
        )
        train_error = self._transform(images, found, receiver, data)
        report["error"] = max(report["error"], float(np.linalg.norm([found.error, table.error, train_error])))
        report["history_rank"] = max(report["history_rank"], float(basis.curves.shape[1]))
        report["transforms_per_coil"] += found.terms

    def _transform(
        self,
        images: np.ndarray,
        found: Modulation,
        receiver: maps.Receiver,
        data: list[np.ndarray],
    ) -> float:
        out = np.zeros((self.group.members.size, receiver.channels, self.group.tau.shape[1]), np.complex64)
        terms = Terms(
            curves=found.curves, along=found.along, mixing=found.mixing, variant=self.group.variant,
            size=np.array([np.linalg.norm(image) for image in images]), rows=self.rows, samples=self.samples,
        )  # fmt: skip
        stack = images.reshape(-1, *self.window.shape)
        error = self.encoder.encode(stack, terms, receiver.maps(self.window.part), out)
        for i, r in enumerate(self.group.members):
            data[r] = out[i]
        return error


def _mean_power(power: np.ndarray, table: SpinTable, tissue: int) -> float:
    """Mean signal power of the sampled bins of a tissue, of all where it has none."""
    own = table.sample // table.axes.nodes == int(np.searchsorted(np.unique(table.species.tissue), tissue))
    return float(power[own].mean()) if own.any() else float(power.mean())
