"""The `Phantom`: tissue fractions on a grid, with the tissue table that gives them meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .tissue_file import default_tissue_table
from .tissues import TissueError, TissueProperties, TissueTable

if TYPE_CHECKING:
    from .cohorts.diffeomorphism import Diffeomorphism
    from .diffusion import DiffusionModel

BRAIN_TISSUES = frozenset(
    {
        "gm", "wm", "cerebellar_gm", "cerebellar_wm", "thalamus", "caudate", "putamen", "pallidum",
        "hippocampus", "amygdala", "brainstem", "ventricular_csf", "accumbens", "red_nucleus",
        "substantia_nigra", "dentate", "wmh",
    }
)  # fmt: skip
SUM_TOLERANCE = 1e-3


class PhantomError(ValueError):
    """A phantom's arrays or descriptions do not fit together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Phantom:
    """Tissue fractions on a regular grid.

    Parameters
    ----------
    name : str
        Name of the phantom.
    tissues : tuple of str
        Tissue names, one per entry of the first axis of `fractions`; each must be in `table`.
    fractions : ndarray, float32, shape (tissue, x, y, z)
        Volume fractions 0..1 whose sum is at most 1; the remainder is air. Proton density is not included.
    affine : ndarray, float64, shape (4, 4)
        Voxel index (centre) -> world RAS+ [m].
    table : TissueTable
        Parameters of the tissues at every field strength.
    scale : dict
        Per-subject multipliers, e.g. ``{"wm": {"t1": 1.02}}``.
    labels : ndarray, int16, shape (x, y, z), optional
        Hard region labels, 0 = none.
    regions : dict
        Region name per label.
    truth : dict
        What is known of the subject; JSON-able.
    provenance : dict
        Where it comes from: ``source``, ``licence``, and per layer where they differ; JSON-able.
    chi_outside : float
        Susceptibility of air [ppm] relative to tissue water.
    diffusion : DiffusionModel, optional
        Compartments and fibres of some of the tissues; the others, or all of them, diffuse isotropically with
        the coefficient of the table.
    texture : ndarray, float32, shape (x, y, z), optional
        Proton density relative to that of the tissues, 0 to 2; fractions and susceptibility do not feel it.
    transform : Diffeomorphism, optional
        The map from the template to this subject.
    """

    name: str
    tissues: tuple[str, ...]
    fractions: NDArray[np.float32]
    affine: NDArray[np.float64]
    table: TissueTable = field(default_factory=default_tissue_table)
    scale: dict[str, dict[str, float]] = field(default_factory=dict)
    labels: NDArray[np.int16] | None = None
    regions: dict[int, str] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    chi_outside: float = 9.4
    diffusion: DiffusionModel | None = None
    texture: NDArray[np.float32] | None = None
    transform: Diffeomorphism | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tissues", tuple(self.tissues))
        object.__setattr__(self, "affine", np.asarray(self.affine, np.float64))
        object.__setattr__(self, "fractions", np.asarray(self.fractions, np.float32))
        self._check_names()
        self._check_grid()
        self._check_fractions()
        self._check_diffusion()
        self._check_transform()
        for name in ("truth", "provenance"):
            try:
                json.dumps(getattr(self, name), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise PhantomError(f"{name} must hold plain JSON values; got {error}.") from error

    def _check_names(self) -> None:
        if not self.tissues or len(set(self.tissues)) != len(self.tissues):
            raise PhantomError(f"tissues must be one or more different names; got {self.tissues}.")
        for name in self.tissues:
            if name not in self.table.curves:
                raise PhantomError(
                    f"tissue {name!r} must be in the table, which has {sorted(self.table.curves)}."
                )
        if unknown := set(self.scale) - set(self.tissues):
            raise PhantomError(f"scale must name tissues of the phantom; got {sorted(unknown)}.")
        for name, factors in self.scale.items():
            try:
                self.table.at(name, 3.0).scaled(factors)
            except TissueError as error:
                raise PhantomError(str(error)) from error

    def _check_grid(self) -> None:
        f = self.fractions
        if f.ndim != 4 or f.shape[0] != len(self.tissues) or f.size == 0:
            raise PhantomError(f"fractions must have shape ({len(self.tissues)}, x, y, z); got {f.shape}.")
        if self.labels is not None:
            labels = np.asarray(self.labels)
            if labels.shape != f.shape[1:] or labels.dtype != np.int16:
                raise PhantomError(
                    f"labels must be int16 of shape {f.shape[1:]}; got {labels.dtype} {labels.shape}."
                )
        if self.texture is not None:
            self._check_texture()
        a = self.affine
        if a.shape != (4, 4) or not np.isfinite(a).all() or not np.array_equal(a[3], (0, 0, 0, 1)):
            raise PhantomError(
                f"affine must be a finite (4, 4) matrix with last row 0 0 0 1; got {a.tolist()}."
            )
        # Relative to the voxel size: a determinant of 1e-9 is a healthy millimetre grid.
        if not abs(np.linalg.det(a[:3, :3])) > 1e-6 * np.prod(np.linalg.norm(a[:3, :3], axis=0)):
            raise PhantomError("affine must be invertible; its columns are (nearly) dependent.")

    def _check_texture(self) -> None:
        texture = np.asarray(self.texture, np.float32)
        low, high = float(texture.min()), float(texture.max())
        if texture.shape != self.fractions.shape[1:] or not (low >= 0.0 and high <= 2.0):
            raise PhantomError(
                f"texture must have shape {self.fractions.shape[1:]} and values 0..2; "
                f"got {texture.shape} with {low:g}..{high:g}."
            )
        object.__setattr__(self, "texture", texture)

    def _check_fractions(self) -> None:
        total = np.zeros(self.fractions.shape[1:], np.float32)
        for name, f in zip(self.tissues, self.fractions, strict=True):
            low, high = float(f.min()), float(f.max())
            if not (low >= 0.0 and high <= 1.0 + SUM_TOLERANCE):  # also catches NaN
                raise PhantomError(f"fractions must lie in 0..1; tissue {name!r} has {low:g}..{high:g}.")
            total += f
        if (top := float(total.max())) > 1.0 + SUM_TOLERANCE:
            raise PhantomError(f"fractions must sum to at most 1 per voxel; got {top:.4f}.")

    def _check_diffusion(self) -> None:
        model: object = self.diffusion
        if model is None:
            return
        from .diffusion import DiffusionModel

        if not isinstance(model, DiffusionModel):
            raise PhantomError(f"diffusion must be a DiffusionModel or None; got {type(model).__name__}.")
        if unknown := set(model.tissues) - set(self.tissues):
            raise PhantomError(f"diffusion must name tissues of the phantom; got {sorted(unknown)}.")

    def _check_transform(self) -> None:
        transform: object = self.transform
        if transform is None:
            return
        from .cohorts.diffeomorphism import Diffeomorphism

        if not isinstance(transform, Diffeomorphism):
            raise PhantomError(f"transform must be a Diffeomorphism or None; got {type(transform).__name__}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        _, nx, ny, nz = self.fractions.shape
        return nx, ny, nz

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Voxel edge lengths [m]."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def voxel_volume(self) -> float:
        """Voxel volume [m^3]."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def properties(self, b0: float) -> tuple[TissueProperties, ...]:
        """Return the scaled parameters of all tissues at a field strength [T], in the order of `tissues`."""
        return tuple(self.table.at(n, b0).scaled(self.scale.get(n, {})) for n in self.tissues)

    def fraction(self, *names: str) -> NDArray[np.float32]:
        """Return the summed fraction of some tissues, shape (x, y, z); absent ones count as zero."""
        out = np.zeros(self.shape, np.float32)
        for name in names:
            if name in self.tissues:
                out += self.fractions[self.tissues.index(name)]
        return out

    def brain_mask(self) -> NDArray[np.bool_]:
        """Return where brain tissue or ventricle fills at least half of the voxel.

        Phantoms without brain tissue return where any tissue fills at least half.
        """
        brain = [n for n in self.tissues if n in BRAIN_TISSUES]
        return self.fraction(*(brain or self.tissues)) >= 0.5

    def volumes(self) -> dict[str, float]:
        """Return the volume of each tissue [m^3], partial volumes included."""
        sums = self.fractions.reshape(len(self.tissues), -1).sum(axis=1, dtype=np.float64)
        return {n: float(s) * self.voxel_volume for n, s in zip(self.tissues, sums, strict=True)}

    def replace(self, changes: Mapping[str, Any]) -> Phantom:
        """Return a copy with some fields replaced, validated again."""
        values = {k: getattr(self, k) for k in self.__dataclass_fields__}
        return Phantom(**{**values, **changes})
