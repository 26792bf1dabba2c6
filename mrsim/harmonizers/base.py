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

from .tables import CovariateEncoder, feature_names, feature_table, site_labels
from .volumes import Volume, as_float32_image, read_volume, zip_volumes

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


def _refuse_unseen(harmonizer: Harmonizer, sites: NDArray[np.str_]) -> None:
    unseen = sorted(set(sites.tolist()) - set(harmonizer.sites_.tolist()))
    if unseen and not harmonizer.capabilities.handles_unseen_site:
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
            Accepted for the common signature; used only where ``capabilities.keeps_covariates``.

        Raises
        ------
        ValueError
            If lengths, grids or values do not fit; the message names the argument and the way out.
        """
        sites = site_labels(site)
        self._forget()
        if type(self)._learn is not ImageHarmonizer._learn:
            self._learn(zip_volumes(images, masks, sites))
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
        _refuse_unseen(self, label)
        data = self._apply(read_volume(image, mask, str(label[0])))
        return as_float32_image(data, like=image)

    def _learn(self, volumes: Iterable[Volume]) -> None:
        """Set learned attributes from a stream of volumes (default: nothing to learn)."""

    @abstractmethod
    def _apply(self, volume: Volume) -> NDArray[np.floating]:
        """Return the harmonized voxels of one volume; must not change `volume`."""


class FeatureHarmonizer(Harmonizer):
    """Harmonizer of feature tables; subclasses write ``_learn`` and ``_apply``.

    Tables are ``(n_samples, n_features)``. Input of any real dtype is used as float64 (float64 itself without
    a copy, integers and float32 widened exactly) and the output is float64. Covariates are a DataFrame or an
    array with one row per sample: numeric columns are used as they are, text, categorical and boolean columns
    become indicator columns (levels sorted, first one dropped). Missing or non-finite values are refused.
    """

    n_features_in_: int
    feature_names_in_: NDArray[np.str_]

    def fit(self, X: Any, *, site: Sequence[str], covariates: Any = None) -> Self:
        """Learn site effects from a table.

        Parameters
        ----------
        X
            Features, shape (n_samples, n_features); array or DataFrame.
        site
            One site label per sample.
        covariates
            None, or DataFrame / array of shape (n_samples, n_covariates) with the biology to keep.

        Raises
        ------
        ValueError
            If shapes or values do not fit; the message names the argument and the way out.
        """
        table, sites = feature_table(X), site_labels(site)
        _same_rows(table, sites)
        encoder = CovariateEncoder.learn(covariates, n_samples=len(table))
        self._forget()
        self._learn(table, sites, encoder.encode(covariates, n_samples=len(table)), encoder.columns)
        self.n_features_in_ = table.shape[1]
        if (names := feature_names(X)) is not None:
            self.feature_names_in_ = names
        self.covariate_levels_ = encoder.levels
        self.sites_ = np.unique(sites)
        return self

    def transform(self, X: Any, *, site: Sequence[str], covariates: Any = None) -> NDArray[np.float64]:
        """Return harmonized features of the same shape, float64; `X` is left untouched.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        UnseenSiteError
            For a new site, where the method cannot handle one.
        """
        self.require_fitted()
        table, sites = feature_table(X), site_labels(site)
        _same_rows(table, sites)
        self._same_features(X, table)
        _refuse_unseen(self, sites)
        encoder = CovariateEncoder(levels=self.covariate_levels_)
        return self._apply(table, sites, encoder.encode(covariates, n_samples=len(table)))

    def fit_transform(self, X: Any, *, site: Sequence[str], covariates: Any = None) -> NDArray[np.float64]:
        """Fit on a table and return it harmonized."""
        return self.fit(X, site=site, covariates=covariates).transform(X, site=site, covariates=covariates)

    def _same_features(self, X: Any, table: NDArray[np.float64]) -> None:
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have the {self.n_features_in_} features seen in fit; got {table.shape[1]}. "
                "Pass the same columns in the same order."
            )
        names, fitted = feature_names(X), getattr(self, "feature_names_in_", None)
        if names is not None and fitted is not None and not np.array_equal(names, fitted):
            first = int(np.flatnonzero(names != fitted)[0])
            raise ValueError(
                f"X must have the columns seen in fit, in that order; got '{names[first]}' "
                f"in place of '{fitted[first]}'. Reorder with X[list(harmonizer.feature_names_in_)]."
            )

    @abstractmethod
    def _learn(
        self,
        X: NDArray[np.float64],
        sites: NDArray[np.str_],
        covariates: NDArray[np.float64],
        columns: list[str],
    ) -> None:
        """Set learned attributes; `covariates` is (n_samples, k), k may be 0, named by `columns`."""

    @abstractmethod
    def _apply(
        self, X: NDArray[np.float64], sites: NDArray[np.str_], covariates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return a new harmonized table; must not change `X`."""


def _same_rows(table: NDArray[np.float64], sites: NDArray[np.str_]) -> None:
    if len(table) != len(sites):
        raise ValueError(
            f"site must have one label per row of X ({len(table)}); got {len(sites)}. "
            "Take both from the same table."
        )
