"""The map template -> subject in the native phantom file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hdf5 import dataset, group, values

if TYPE_CHECKING:
    from ..cohorts.diffeomorphism import Diffeomorphism

MAX_NODES = 256**3


def write_diffeomorphism(f: Any, transform: Diffeomorphism) -> None:
    """Write a map into an empty group: ``velocity``, ``affine``, ``scale``."""
    # Neighbours differ little: sorted by bytes, the upper ones compress.
    options: dict[str, Any] = {"compression": "gzip", "shuffle": True, "track_times": False}
    f.create_dataset("velocity", data=transform.velocity, **options)
    f.create_dataset("affine", data=transform.affine)
    f.create_dataset("scale", data=float(transform.scale))


def read_diffeomorphism(f: Any, path: Path) -> Diffeomorphism:
    """Read the group ``transform`` of a phantom file, as strictly as the rest of it.

    Raises
    ------
    PhantomFileError
        With file and field, if something is not as it must be; `PhantomError` if the map is not valid.
    """
    from ..cohorts.diffeomorphism import Diffeomorphism

    g = group(f, path, "transform")
    return Diffeomorphism(
        velocity=dataset(g, path, "velocity", ("f4",), 4, 3 * MAX_NODES)[()],
        affine=values(g, path, "affine", 2, 16),
        scale=float(values(g, path, "scale", 0, 1)),
    )
