"""Harmonizers of diffusion-weighted images, voxel by voxel and shell by shell in a common space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..base import Capabilities, Harmonizer, refuse_unseen
from ..tables import site_labels
from ..volumes import ImageInputError, as_float32_image, mask_of, next_item, voxels_of
from .gradients import GradientError, Gradients

if TYPE_CHECKING:
    import nibabel as nib

Array = NDArray[np.float64]

# Shells of two scans are the same one if their b-values differ by at most 5 %.
_SAME_SHELL = 0.05


class Scan:
    """One diffusion-weighted scan in memory: signal, mean unweighted image, mask, weightings."""

    def __init__(
        self, image: nib.Nifti1Image, mask: nib.Nifti1Image | None, gradients: Gradients, site: str
    ) -> None:
        self.data = voxels_of(image, "image", dimensions=4)
        self.gradients, self.site = gradients, site
        if not isinstance(gradients, Gradients):
            raise GradientError(
                f"gradients must be Gradients; got {type(gradients).__name__}. Read them with "
                "read_gradients(bval, bvec)."
            )
        if gradients.bvals.size != self.data.shape[3]:
            raise GradientError(
                f"gradients must have one entry per volume of the image ({self.data.shape[3]}); "
                f"got {gradients.bvals.size}. Take the bval and bvec files of that image."
            )
        if not gradients.unweighted.size:
            raise GradientError(
                "gradients must include a volume with b <= 50 s/mm2, which the signal is divided by; got "
                "none. Append the unweighted image."
            )
        self.unweighted: Array = self.data[..., gradients.unweighted].mean(axis=3)
        inside = self.unweighted > self.unweighted.mean() if mask is None else mask_of(mask, image)
        wrong = int((~np.isfinite(self.data[inside] if mask is not None else self.data)).sum())
        if wrong:
            raise ImageInputError(
                f"image must be finite {'inside the mask' if mask is not None else 'everywhere'}; got "
                f"{wrong} non-finite samples. Repair them or leave them out of the mask."
            )
        # Without a positive unweighted signal there is no attenuation to speak of.
        self.mask = inside & (np.nan_to_num(self.unweighted) > 0.0)
        if not self.mask.any():
            raise ImageInputError(
                "mask must contain a voxel with a positive unweighted signal; got none. Check image and mask."
            )

    def attenuation(self, volumes: NDArray[np.intp]) -> Array:
        """Return the signal of some volumes over the unweighted one, (voxels in the mask, volumes)."""
        attenuation: Array = self.data[self.mask][:, volumes] / self.unweighted[self.mask][:, None]
        return attenuation


class DiffusionHarmonizer(Harmonizer):
    """Harmonizer of 4D diffusion-weighted images; subclasses describe a shell's signal and adjust it.

    ``fit`` averages the description of each voxel over the scans of a site (those whose mask holds it), so
    all scans must be registered to one grid, and the sites' groups must be matched, or be the same travelers.
    ``transform`` brings the description of the site to that of the reference; unweighted volumes, and voxels
    outside the mask or never seen at one of the sites, stay as they are.

    Parameters
    ----------
    reference_site
        Site that the others are brought to; the mean over the sites if None.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(needs_site_labels=True, one_site_identity=True)

    def __init__(self, reference_site: str | None = None) -> None:
        self.reference_site = reference_site

    def fit(
        self,
        images: Iterable[nib.Nifti1Image],
        *,
        site: Sequence[str],
        gradients: Iterable[Gradients],
        masks: Iterable[nib.Nifti1Image] | None = None,
        covariates: object = None,
    ) -> Self:
        """Learn from scans that are visited once, one at a time.

        Parameters
        ----------
        images
            4D images on one grid; any iterable.
        site
            One site label per image.
        gradients
            One :class:`Gradients` per image.
        masks
            One mask per image; voxels whose unweighted signal is above its mean, when absent.
        covariates
            Accepted for the common signature.

        Raises
        ------
        ValueError
            If lengths, grids, shells or values do not fit; the message names the argument and the way out.
        """
        sites = site_labels(site)
        self._forget()
        labels = np.unique(sites)
        if self.reference_site is not None and self.reference_site not in labels.tolist():
            raise ValueError(
                f"reference_site must be one of the sites ({', '.join(labels)}); got "
                f"'{self.reference_site}'. Correct the name, or set reference_site=None."
            )
        self._learn(_scans(images, gradients, masks, sites), labels)
        self.sites_ = labels
        return self

    def transform(
        self,
        image: nib.Nifti1Image,
        *,
        site: str,
        gradients: Gradients,
        mask: nib.Nifti1Image | None = None,
    ) -> nib.Nifti1Image:
        """Return the harmonized scan, float32; `image` itself is left untouched.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        UnseenSiteError
            For a site that ``fit`` has not seen.
        """
        self.require_fitted()
        label = site_labels([site])
        refuse_unseen(self, label)
        scan = Scan(image, mask, gradients, str(label[0]))
        self._require_grid(scan)
        row = int(np.searchsorted(self.sites_, label[0]))
        made = scan.data.copy()
        for shell, (_, volumes) in enumerate(self._matching_shells(scan)):
            source, target = (m[:, scan.mask].T for m in (self.means_[row, shell], self.target_[shell]))
            signal = scan.attenuation(volumes)
            known = np.isfinite(source).all(axis=1) & np.isfinite(target).all(axis=1)
            directions = gradients.bvecs[volumes]
            signal[known] = self._adjusted(signal[known], directions, source[known], target[known])
            block = made[scan.mask]
            changed = scan.unweighted[scan.mask][known, None] * signal[known]
            block[np.ix_(known, volumes)] = changed
            made[scan.mask] = block
        return as_float32_image(made, like=image)

    @abstractmethod
    def _description(self, signal: Array, directions: Array) -> Array:
        """Return what is averaged over scans, (voxels, numbers), of a shell's attenuation (voxels, n)."""

    @abstractmethod
    def _adjusted(self, signal: Array, directions: Array, source: Array, target: Array) -> Array:
        """Return the attenuation (voxels, n) brought from the source's description to the target's."""

    def _learn(self, scans: Iterable[Scan], labels: NDArray[np.str_]) -> None:
        sums, counts = np.zeros(0), np.zeros(0)
        for number, scan in enumerate(scans):
            if number == 0:
                self.shape_ = np.array(scan.data.shape[:3])
                self.shells_ = np.array([b for b, _ in scan.gradients.shells()])
                counts = np.zeros((labels.size, *self.shape_))
            self._require_grid(scan)
            row = int(np.searchsorted(labels, scan.site))
            described = np.stack(
                [
                    self._description(scan.attenuation(volumes), scan.gradients.bvecs[volumes]).T
                    for _, volumes in self._matching_shells(scan)
                ]
            )
            if number == 0:
                sums = np.zeros((labels.size, *described.shape[:2], *self.shape_))
            sums[row][:, :, scan.mask] += described
            counts[row][scan.mask] += 1.0
        with np.errstate(invalid="ignore", divide="ignore"):
            self.means_ = sums / counts[:, None, None]
        if self.reference_site is None:
            self.target_ = self.means_.mean(axis=0)
        else:
            self.target_ = self.means_[int(np.searchsorted(labels, self.reference_site))]

    def _matching_shells(self, scan: Scan) -> list[tuple[float, NDArray[np.intp]]]:
        found = list(scan.gradients.shells())
        values = np.array([b for b, _ in found])
        if values.size == 0 or values.size != self.shells_.size:
            same = False
        else:
            same = bool((np.abs(values - self.shells_) <= _SAME_SHELL * self.shells_).all())
        if not same:
            raise GradientError(
                f"gradients must have the shells of the first training scan, "
                f"{np.round(self.shells_ / 1e6).tolist()} s/mm2; got {np.round(values / 1e6).tolist()}. "
                "Keep the shells that all scans share."
            )
        return found

    def _require_grid(self, scan: Scan) -> None:
        if scan.data.shape[:3] != tuple(self.shape_):
            raise ImageInputError(
                f"image must lie on the grid of the training images, {tuple(self.shape_.tolist())}; got "
                f"{scan.data.shape[:3]} at site '{scan.site}'. Register the scans to one grid."
            )


def _scans(
    images: Iterable[nib.Nifti1Image],
    gradients: Iterable[Gradients],
    masks: Iterable[nib.Nifti1Image] | None,
    sites: NDArray[np.str_],
) -> Iterator[Scan]:
    """Yield one scan after the other, holding one at a time; lengths must agree."""
    sources = {"images": iter(images), "gradients": iter(gradients)}
    if masks is not None:
        sources["masks"] = iter(masks)
    for number, site in enumerate(sites):
        items = {name: next_item(rest, name, number, len(sites)) for name, rest in sources.items()}
        scan = Scan(items.pop("images"), items.pop("masks", None), items.pop("gradients"), str(site))
        yield scan
        del scan
    for name, rest in sources.items():
        if next(rest, None) is not None:
            raise ImageInputError(
                f"{name} must have one entry per site label ({len(sites)}); got more. "
                "Take images, gradients, masks and site from the same table."
            )
