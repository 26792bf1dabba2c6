"""The contract that every harmonizer keeps, for images and for features.

The rules are those of scikit-learn estimators: the constructor stores its arguments unchanged, ``fit`` learns
attributes whose names end with an underscore, ``transform`` applies them to held-out data and learns nothing.
:func:`mrsim.harmonizers.check_harmonizer` tests all of it.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .tables import site_labels
from .volumes import ImageInputError, Volume, as_float32_image, read_volume, zip_volumes

if TYPE_CHECKING:
    import nibabel as nib


class NotFittedError(ValueError, AttributeError):
    """``transform`` or ``save_harmonizer`` was called before ``fit``."""


class UnseenSiteError(ValueError):
    """``transform`` met a site that ``fit`` has not seen, and the method cannot extrapolate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a method needs, what it can do and how it behaves; declared per class, tested by the suite.

    Attributes
    ----------
    needs_site_labels
        ``fit`` or ``transform`` uses the site label; otherwise the label is only recorded.
    needs_pairs
        Needs the same subject scanned on the source and the target scanner, voxel by voxel.
    needs_traveling_subjects
        Needs subjects that were scanned at several sites.
    target_only
        Learns from the target site alone.
    handles_unseen_site
        ``transform`` accepts a site that ``fit`` has not seen.
    keeps_covariates
        Uses covariates to protect the variation that they explain.
    one_site_identity
        Fitted on a single site, ``transform`` returns its input: there is nothing to harmonize.
    scaling
        What a gain c > 0 on the input does to the output: ``equivariant`` multiplies it by c (fit and
        transform both on scaled data), ``invariant`` leaves it unchanged (transform alone on scaled data),
        ``none`` promises nothing.
    nan_policy
        ``raise``: non-finite input that the method would have to use is refused with a ValueError;
        ``propagate``: it stays where it was and changes nothing else.
    """

    needs_site_labels: bool
    needs_pairs: bool = False
    needs_traveling_subjects: bool = False
    target_only: bool = False
    handles_unseen_site: bool = False
    keeps_covariates: bool = False
    one_site_identity: bool = False
    scaling: Literal["equivariant", "invariant", "none"] = "equivariant"
    nan_policy: Literal["raise", "propagate"] = "raise"


class Harmonizer(ABC):
    """Parameters, representation and fitted state shared by both kinds of harmonizer.

    Class attributes
    ----------------
    capabilities
        Declared :class:`Capabilities`.
    known_exceptions
        Name of a conformance check -> why this method cannot pass it. A declared exception that passes
        after all is reported as a failure, so the list stays true.
    """

    capabilities: ClassVar[Capabilities]
    known_exceptions: ClassVar[Mapping[str, str]] = MappingProxyType({})
    sites_: NDArray[np.str_]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor arguments by name; `deep` is there for scikit-learn's ``clone``."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name and return the harmonizer.

        Raises
        ------
        ValueError
            If a name is not a constructor argument.
        """
        known = self._parameter_names()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"params must be among {sorted(known)}; got '{name}'. "
                    f"See help({type(self).__name__}) for what each one means."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def declared(self) -> Capabilities:
        """Return the capabilities with these parameters; those of the class unless a method overrides it."""
        return self.capabilities

    def is_fitted(self) -> bool:
        """Return whether ``fit`` has completed."""
        return hasattr(self, "sites_")

    def require_fitted(self) -> None:
        """Raise :class:`NotFittedError` unless ``fit`` has completed."""
        if not self.is_fitted():
            raise NotFittedError(
                f"{type(self).__name__} must be fitted before it is used; got one without learned "
                "attributes. "
                "Call fit(..., site=...) first, or load a fitted one with load_harmonizer(path)."
            )

    @classmethod
    def _parameter_names(cls) -> tuple[str, ...]:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        kinds = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        return tuple(p.name for p in parameters if p.kind not in kinds)

    def _forget(self) -> None:
        for name in learned_state(self):
            delattr(self, name)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({arguments})"


def learned_state(harmonizer: Harmonizer) -> dict[str, Any]:
    """Return the attributes that ``fit`` learned: those whose names end with one underscore, sorted."""
    found = {k: v for k, v in vars(harmonizer).items() if k.endswith("_") and not k.startswith("_")}
    return dict(sorted(found.items()))


def refuse_unseen(harmonizer: Harmonizer, sites: NDArray[np.str_]) -> None:
    """Raise :class:`UnseenSiteError` for new sites, unless the method declares that it handles them."""
    unseen = sorted(set(sites.tolist()) - set(harmonizer.sites_.tolist()))
    if unseen and not harmonizer.declared().handles_unseen_site:
        raise UnseenSiteError(
            f"site must be one that fit has seen ({', '.join(harmonizer.sites_.tolist())}); "
            f"got {', '.join(unseen)}. Fit again with samples of that site, "
            "or use a method whose capabilities say handles_unseen_site."
        )


class ImageHarmonizer(Harmonizer):
    """Harmonizer of 3D images; subclasses write ``_apply`` and, where they learn from images, ``_learn``.

    Both see :class:`Volume` objects (float64 voxels, boolean mask, voxel size in metres, site). The mask says
    which voxels statistics come from; the learned map is applied to every voxel, so no image is cut. Without
    a mask the foreground is every voxel above the image's mean. The output is float32 with the affine, shape
    and header geometry of the input. A non-finite voxel inside the mask (anywhere, without a mask) is
    refused.
    """

    def fit(
        self,
        images: Iterable[nib.Nifti1Image],
        *,
        site: Sequence[str],
        masks: Iterable[nib.Nifti1Image] | None = None,
        covariates: object = None,
    ) -> Self:
        """Learn from images that are visited once, one at a time.

        Parameters
        ----------
        images
            3D images; any iterable, so a sequence that loads when asked keeps memory independent of the
            number of subjects. Methods that learn nothing from images do not read them.
        site
            One site label per image.
        masks
            One mask image per image (non-zero is inside), on the image's grid.
        covariates
            Table or mapping of columns; only its column "subject" is read, by methods that need traveling
            subjects.

        Raises
        ------
        ValueError
            If lengths, grids or values do not fit; the message names the argument and the way out.
        """
        sites = site_labels(site)
        self._forget()
        if type(self)._learn is not ImageHarmonizer._learn:
            self._learn(zip_volumes(images, masks, sites, _subjects(covariates, len(sites))))
        self.sites_ = np.unique(sites)
        return self

    def transform(
        self, image: nib.Nifti1Image, *, site: str, mask: nib.Nifti1Image | None = None
    ) -> nib.Nifti1Image:
        """Return the harmonized image, float32; `image` itself is left untouched.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        UnseenSiteError
            For a new site, where the method cannot handle one.
        """
        self.require_fitted()
        label = site_labels([site])
        refuse_unseen(self, label)
        data = self._apply(read_volume(image, mask, str(label[0])))
        return as_float32_image(data, like=image)

    def _learn(self, volumes: Iterable[Volume]) -> None:
        """Set learned attributes from a stream of volumes (default: nothing to learn)."""

    @abstractmethod
    def _apply(self, volume: Volume) -> NDArray[np.floating]:
        """Return the harmonized voxels of one volume; must not change `volume`."""


def _subjects(covariates: Any, count: int) -> list[str] | None:
    """Return the subject label of each image, None where covariates name no subjects."""
    try:
        column = covariates["subject"]
    except (TypeError, KeyError, IndexError, ValueError):
        return None
    labels = [str(label) for label in column]
    if len(labels) != count:
        raise ImageInputError(
            f"covariates must have one row per image ({count}); got {len(labels)} subjects. "
            "Take images, site and covariates from the same table."
        )
    return labels
