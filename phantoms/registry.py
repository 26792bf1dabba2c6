"""All phantoms by name: what they are, where they come from, under which licence, and how to make one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from .phantom import Phantom, PhantomError

VoxelSize = float | tuple[float, float, float]
Kind = Literal["head", "quality", "mathematical"]


@dataclass(frozen=True, kw_only=True)
class PhantomEntry:
    """One phantom of the registry.

    Attributes
    ----------
    name : str
        Name that `make_phantom` takes.
    kind : {'head', 'quality', 'mathematical'}
        Head, quality-control object, or object with a closed form.
    description : str
        One line.
    source : str
        Where geometry and values come from.
    licence : str
        Licence of the data behind it; "none needed" for formulas of this project.
    factory : str
        ``module:function`` inside the package.
    """

    name: str
    kind: Kind
    description: str
    source: str
    licence: str
    factory: str

    def load(self) -> Callable[..., Phantom]:
        """Return the function that makes the phantom."""
        module, function = self.factory.split(":")
        return getattr(import_module(f".{module}", __package__), function)  # type: ignore[no-any-return]

    @property
    def options(self) -> dict[str, Any]:
        """Options of the factory with their defaults; every factory has `voxel_size` [m]."""
        return {k: p.default for k, p in inspect.signature(self.load()).parameters.items()}


def phantom_names() -> tuple[str, ...]:
    """Return the names of all phantoms: heads first, then quality control, then mathematical objects."""
    return tuple(_ENTRIES)


def describe_phantom(name: str) -> PhantomEntry:
    """Return description, source, licence and options of a phantom.

    Raises
    ------
    PhantomError
        If no phantom has that name.
    """
    if name not in _ENTRIES:
        raise PhantomError(f"name must be one of {', '.join(_ENTRIES)}; got {name!r}.")
    return _ENTRIES[name]


def make_phantom(name: str, **options: Any) -> Phantom:
    """Make a phantom by its name.

    Parameters
    ----------
    name : str
        One of `phantom_names`.
    **options
        Options of its factory, see `describe_phantom(name).options`; all of them have defaults.

    Returns
    -------
    Phantom
        Fractions, tissue table, labels and truth.

    Raises
    ------
    PhantomError
        If the name or an option is unknown, or a value is not usable.
    """
    entry = describe_phantom(name)
    known = entry.options
    if unknown := sorted(set(options) - set(known)):
        raise PhantomError(f"options of {name!r} must be among {sorted(known)}; got {unknown}.")
    return entry.load()(**options)


def covering_shape(voxel_size: VoxelSize, lengths: tuple[float, ...]) -> tuple[int, ...]:
    """Return the voxels per axis that cover `lengths` [m] with a voxel to spare on each side."""
    size = np.broadcast_to(np.asarray(voxel_size, float), 3)[: len(lengths)]
    if not (np.isfinite(size).all() and (size > 0).all() and size.max() <= 0.05):
        raise PhantomError(f"voxel_size must be positive and at most 0.05 m; got {voxel_size}. Give metres.")
    return tuple(math.ceil(n / s - 1e-9) + 2 for n, s in zip(lengths, size.tolist(), strict=True))


def _shepp_logan_2d(voxel_size: VoxelSize = 1e-3, fov: float = 0.2) -> Phantom:
    from .shepp_logan import shepp_logan_2d

    x, y, z = np.broadcast_to(np.asarray(voxel_size, float), 3).tolist()
    nx, ny = covering_shape((x, y, z), (fov, fov))
    return shepp_logan_2d((nx, ny), (x, y), fov, thickness=z)


def _shepp_logan_3d(voxel_size: VoxelSize = 2e-3, fov: float = 0.2) -> Phantom:
    from .shepp_logan import shepp_logan_3d

    nx, ny, nz = covering_shape(voxel_size, (fov,) * 3)
    return shepp_logan_3d((nx, ny, nz), voxel_size, fov)


def _sphere(
    voxel_size: VoxelSize = 2e-3,
    radius: float = 0.08,
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    from .shepp_logan import uniform_sphere

    nx, ny, nz = covering_shape(voxel_size, (2.0 * radius,) * 3)
    return uniform_sphere((nx, ny, nz), voxel_size, radius, t1=t1, t2=t2, t2_prime=t2_prime)


def _uniform(
    voxel_size: VoxelSize = 2e-3,
    lengths: tuple[float, float, float] = (0.16, 0.16, 0.16),
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    from .shepp_logan import uniform_box

    nx, ny, nz = covering_shape(voxel_size, lengths)
    return uniform_box((nx, ny, nz), voxel_size, lengths, t1=t1, t2=t2, t2_prime=t2_prime)


def _point(
    voxel_size: float = 1e-3,
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    t1: float = math.inf,
    t2: float = math.inf,
    t2_prime: float = math.inf,
) -> Phantom:
    from .shepp_logan import point_phantom

    return point_phantom(position, voxel_size=voxel_size, t1=t1, t2=t2, t2_prime=t2_prime)


_ENTRIES: Mapping[str, PhantomEntry] = {
    entry.name: entry
    for entry in (
        PhantomEntry(
            name="icbm152",
            kind="head",
            description="Head of a mean adult, symmetric, all brain structures as tissues of their own",
            source="ICBM 152 nonlinear symmetric 2009a (Fonov 2011, Collins 1999), derived",
            licence="HPND (McGill notice, phantoms/data/NOTICE-MNI.txt)",
            factory="head:icbm152_head",
        ),
        PhantomEntry(
            name="nist-system",
            kind="quality",
            description="ISMRM/NIST system phantom: T1, T2 and PD arrays, 56 fiducials",
            source="PhantomViewer; Stupic 2021, doi:10.1002/mrm.28779",
            licence="MIT (phantoms/data/NOTICE-PhantomViewer.txt)",
            factory="nist:nist_system_phantom",
        ),
        PhantomEntry(
            name="shepp-logan-2d",
            kind="mathematical",
            description="Modified Shepp-Logan slice with closed-form k-space",
            source="Toft 1996",
            licence="none needed",
            factory="registry:_shepp_logan_2d",
        ),
        PhantomEntry(
            name="shepp-logan-3d",
            kind="mathematical",
            description="Three-dimensional modified Shepp-Logan with closed-form k-space",
            source="Toft 1996, three-dimensional extension",
            licence="none needed",
            factory="registry:_shepp_logan_3d",
        ),
        PhantomEntry(
            name="sphere",
            kind="mathematical",
            description="Uniform sphere with closed-form k-space",
            source="formula",
            licence="none needed",
            factory="registry:_sphere",
        ),
        PhantomEntry(
            name="uniform",
            kind="mathematical",
            description="Uniform box with closed-form k-space",
            source="formula",
            licence="none needed",
            factory="registry:_uniform",
        ),
        PhantomEntry(
            name="point",
            kind="mathematical",
            description="One filled voxel anywhere",
            source="formula",
            licence="none needed",
            factory="registry:_point",
        ),
    )
}
