"""All phantoms by name: what they are, where they come from, under which licence, and how to make one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_type_hints

import numpy as np

from .phantom import Phantom, PhantomError

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
    """Return the names of all phantoms: heads, quality control, mathematical objects."""
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
    checked = _checked(entry, options)
    phantom = entry.load()(**checked)
    if phantom.provenance:
        return phantom
    origin = {"phantom": name, "source": entry.source, "licence": entry.licence, "options": checked}
    return phantom.replace({"provenance": origin})


def _checked(entry: PhantomEntry, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain numbers, texts and tuples of them that have the types of the factory's options."""
    from pydantic import TypeAdapter, ValidationError

    kinds, out = get_type_hints(entry.load()), {}
    for key, value in options.items():
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        plain = tuple(plain) if isinstance(plain, list) else plain
        try:
            out[key] = TypeAdapter(kinds[key]).validate_python(plain, strict=True)
        except ValidationError as error:
            raise PhantomError(
                f"option {key!r} of {entry.name!r} must be like its default {entry.options[key]!r}; "
                f"got {value!r}. {error.errors()[0]['msg']}."
            ) from error
    return out


_ENTRIES: Mapping[str, PhantomEntry] = {
    entry.name: entry
    for entry in (
        PhantomEntry(
            name="icbm152",
            kind="head",
            description="Head of a mean adult, symmetric, all brain structures as tissues of their own",
            source="ICBM 152 nonlinear symmetric 2009a (Fonov 2011, Collins 1999), derived",
            licence="HPND (McGill notice, phantoms/data/NOTICE-MNI.txt)",
            factory="anatomy.head:icbm152_head",
        ),
        PhantomEntry(
            name="colin27",
            kind="head",
            description="Head of one man, sharp and asymmetric, with his own skull, marrow, fat and scalp",
            source="Colin27 (Holmes 1998), segmented by this project",
            licence="HPND (McGill notice, phantoms/data/NOTICE-MNI.txt)",
            factory="anatomy.head:colin27_head",
        ),
        PhantomEntry(
            name="procedural",
            kind="head",
            description="Head made of formulas with a folded cortex of known thickness; a seed, no data",
            source="formulas of this project",
            licence="none needed",
            factory="anatomy.procedural:procedural_head",
        ),
        PhantomEntry(
            name="nist-system",
            kind="quality",
            description="ISMRM/NIST system phantom: T1, T2 and PD arrays, 56 fiducials, three lots",
            source="PhantomViewer; Stupic 2021, doi:10.1002/mrm.28779",
            licence="MIT (phantoms/data/NOTICE-PhantomViewer.txt)",
            factory="objects.nist_phantom:nist_system_phantom",
        ),
        PhantomEntry(
            name="nist-diffusion",
            kind="quality",
            description="NIST/RSNA diffusion phantom: 13 vials of PVP in ice water or warmer",
            source="PhantomViewer; water law of Holz 2000",
            licence="MIT (phantoms/data/NOTICE-PhantomViewer.txt)",
            factory="objects.diffusion_phantom:nist_diffusion_phantom",
        ),
        PhantomEntry(
            name="magphan",
            kind="quality",
            description="ADNI phantom (Magphan EMR051): 165 spheres for geometry and contrast",
            source="CMTK, SRI International",
            licence="CC BY 3.0 US (phantoms/data/NOTICE-CMTK.txt)",
            factory="objects.magphan:magphan_phantom",
        ),
        PhantomEntry(
            name="acr",
            kind="quality",
            description="Like the large ACR phantom: holes, ramps, 45-degree bars, grid, low-contrast spokes",
            source="public descriptions; places inside the slices are choices",
            licence="none needed",
            factory="objects.acr:acr_phantom",
        ),
        PhantomEntry(
            name="grid",
            kind="quality",
            description="Lattice of cubes with silent walls, for distortion in three dimensions",
            source="formula",
            licence="none needed",
            factory="objects.grid:grid_phantom",
        ),
        PhantomEntry(
            name="water-fat",
            kind="quality",
            description="Vials of water-fat emulsions in water, fat with its eight peaks",
            source="Karampinos 2014 (spectrum)",
            licence="none needed",
            factory="objects.water_fat:water_fat_phantom",
        ),
        PhantomEntry(
            name="gach",
            kind="mathematical",
            description="Shepp-Logan head with MR values by field strength, closed-form k-space",
            source="Gach 2008",
            licence="none needed",
            factory="objects.gach:gach_phantom",
        ),
        PhantomEntry(
            name="shepp-logan-2d",
            kind="mathematical",
            description="Modified Shepp-Logan slice with closed-form k-space",
            source="Toft 1996",
            licence="none needed",
            factory="objects.plain_objects:shepp_logan_2d",
        ),
        PhantomEntry(
            name="shepp-logan-3d",
            kind="mathematical",
            description="Three-dimensional modified Shepp-Logan with closed-form k-space",
            source="Toft 1996, three-dimensional extension",
            licence="none needed",
            factory="objects.plain_objects:shepp_logan_3d",
        ),
        PhantomEntry(
            name="sphere",
            kind="mathematical",
            description="Uniform sphere with closed-form k-space",
            source="formula",
            licence="none needed",
            factory="objects.plain_objects:sphere",
        ),
        PhantomEntry(
            name="uniform",
            kind="mathematical",
            description="Uniform box with closed-form k-space",
            source="formula",
            licence="none needed",
            factory="objects.plain_objects:uniform",
        ),
        PhantomEntry(
            name="point",
            kind="mathematical",
            description="One filled voxel anywhere",
            source="formula",
            licence="none needed",
            factory="objects.plain_objects:point",
        ),
    )
}
