"""What image harmonizers see of a NIfTI image, and how their result becomes one again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import nibabel as nib

_MM = 1e-3
# Masks written by other software may carry the affine with float32 rounding; 1e-3 mm is far below a voxel.
_AFFINE_TOLERANCE_MM = 1e-3


class ImageInputError(ValueError):
    """An image or a mask is not what a harmonizer can work on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """One 3D image in memory.

    Attributes
    ----------
    data
        Voxels, float64, shape (x, y, z); read-only.
    mask
        Voxels that statistics come from, bool, shape (x, y, z).
    voxel_size
        Edge lengths [m], shape (3,).
    site
        Site label.
    subject
        Subject label, where the covariates of ``fit`` name one.
    """

    data: NDArray[np.float64]
    mask: NDArray[np.bool_]
    voxel_size: NDArray[np.float64]
    site: str
    subject: str | None = None

    @property
    def inside(self) -> NDArray[np.float64]:
        """The voxel values inside the mask, 1D."""
        return self.data[self.mask]


def read_volume(
    image: nib.Nifti1Image, mask: nib.Nifti1Image | None, site: str, subject: str | None = None
) -> Volume:
    """Read an image and its mask without filling nibabel's cache.

    Raises
    ------
    ImageInputError
        If the image is not 3D, the mask is on another grid or empty, or a voxel that counts is not finite.
    """
    data = voxels_of(image, "image")
    used = None if mask is None else mask_of(mask, image)
    finite = np.isfinite(data)
    wrong = int(finite.size - finite.sum()) if used is None else int((~finite[used]).sum())
    if wrong:
        where = "inside the mask" if used is not None else "everywhere (no mask given)"
        raise ImageInputError(
            f"image must be finite {where}; got {wrong} non-finite voxels (NaN or inf). "
            "Repair them or leave them out of the mask."
        )
    inside = data > np.mean(data) if used is None else used
    if not inside.any():
        raise ImageInputError(
            "mask must contain at least one voxel; got none. Check the mask file, "
            "or the image if it is constant and no mask was given."
        )
    data.flags.writeable = False
    size = np.linalg.norm(np.asarray(image.affine, dtype=np.float64)[:3, :3], axis=0) * _MM
    return Volume(data=data, mask=inside, voxel_size=size, site=site, subject=subject)


def at_reference(volumes: Iterable[Volume], reference_site: str | None) -> Iterator[Volume]:
    """Yield the volumes of one site, or all of them.

    Raises
    ------
    ImageInputError
        If there is none.
    """
    sites = set()
    for volume in volumes:
        sites.add(volume.site)
        if reference_site is None or volume.site == reference_site:
            yield volume
    if reference_site is not None and reference_site not in sites:
        raise ImageInputError(
            f"reference_site must be one of the sites ({', '.join(sorted(sites))}); got '{reference_site}'. "
            "Correct the name, or set reference_site=None."
        )


def zip_volumes(
    images: Iterable[nib.Nifti1Image],
    masks: Iterable[nib.Nifti1Image] | None,
    sites: NDArray[np.str_],
    subjects: Sequence[str] | None = None,
) -> Iterator[Volume]:
    """Yield one volume after the other, holding one at a time; lengths must agree."""
    for name, given in (("images", images), ("masks", masks)):
        length = getattr(given, "__len__", None)
        if length is not None and length() != len(sites):
            raise ImageInputError(
                f"{name} must have one entry per site label ({len(sites)}); got {length()}. "
                "Take images, masks and site from the same table."
            )
    left, right = iter(images), None if masks is None else iter(masks)
    for number, site in enumerate(sites):
        image = next_item(left, "images", number, len(sites))
        mask = None if right is None else next_item(right, "masks", number, len(sites))
        subject = None if subjects is None else subjects[number]
        volume = read_volume(image, mask, str(site), subject)
        del image, mask
        yield volume
        del volume
    for name, rest in (("images", left), ("masks", right)):
        if rest is not None and next(rest, None) is not None:
            raise ImageInputError(
                f"{name} must have one entry per site label ({len(sites)}); got more. "
                "Take images, masks and site from the same table."
            )


def as_float32_image(data: NDArray[np.floating], *, like: nib.Nifti1Image) -> nib.Nifti1Image:
    """Wrap voxels as a float32 NIfTI image with the geometry of `like`; scaling and window are reset."""
    from nibabel import Nifti1Image

    image = Nifti1Image(np.asarray(data, dtype=np.float32), np.array(like.affine), like.header)
    image.header.set_data_dtype(np.float32)
    image.header["cal_min"] = image.header["cal_max"] = 0.0
    return image


def next_item(items: Iterator[Any], name: str, number: int, expected: int) -> Any:
    """Return the next of `items`, or refuse with the number that there should be."""
    try:
        return next(items)
    except StopIteration:
        raise ImageInputError(
            f"{name} must have one entry per site label ({expected}); got {number}. "
            "Take images, masks and site from the same table."
        ) from None


def voxels_of(image: nib.Nifti1Image, name: str, *, dimensions: int = 3) -> NDArray[np.float64]:
    """Return a copy of an image's voxels, or refuse what is no image or has other dimensions."""
    for attribute in ("dataobj", "affine", "header"):
        if not hasattr(image, attribute):
            raise ImageInputError(
                f"{name} must be a nibabel image; got {type(image).__name__}. "
                "Load files with nibabel.load, wrap arrays in nibabel.Nifti1Image(array, affine)."
            )
    if len(image.shape) != dimensions:
        remedy = (
            "Split it with nibabel.four_to_three and harmonize each volume."
            if dimensions == 3
            else "Diffusion methods take all weightings in one file."
        )
        raise ImageInputError(f"{name} must be {dimensions}D; got shape {tuple(image.shape)}. {remedy}")
    # dataobj and not get_fdata(): the latter keeps a copy in the image, so a cohort would pile up in memory.
    return np.array(np.asanyarray(image.dataobj), dtype=np.float64)


def mask_of(mask: nib.Nifti1Image, image: nib.Nifti1Image) -> NDArray[np.bool_]:
    """Return where a mask is not zero; it must lie on the image's grid."""
    values = voxels_of(mask, "mask")
    grid = tuple(image.shape[:3])
    same = tuple(mask.shape) == grid
    if not same or not np.allclose(mask.affine, image.affine, rtol=0.0, atol=_AFFINE_TOLERANCE_MM):
        raise ImageInputError(
            f"mask must lie on the image's grid (shape {grid} and the same affine); "
            f"got shape {tuple(mask.shape)}, largest affine difference "
            f"{float(np.abs(np.asarray(mask.affine) - np.asarray(image.affine)).max()):.3g} mm. "
            "Resample the mask to the image."
        )
    if not np.isfinite(values).all():
        raise ImageInputError("mask must be finite; got NaN or inf. Write it as an integer image.")
    inside: NDArray[np.bool_] = values != 0.0
    return inside
