"""A diffusion model in the native phantom file: constants as JSON, maps as datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..compartments import AnyCompartment, Compartment, TensorCompartment
from ..diffusion import MAX_FIBRES, DiffusionModel
from ..file_error import PhantomFileError
from .hdf5 import dataset, group, has

MAX_CELLS = 1024**3
MAX_TEXT = 1024**2
_AXIAL = ("fraction", "d_parallel", "d_perpendicular")


def write_diffusion(f: Any, model: DiffusionModel) -> None:
    """Write a model into an empty group: ``compartments`` (JSON), ``affine``, ``directions``, ``weights``.

    A map stands in the JSON as ``{"map": k}`` and is the dataset ``mapk``.
    """
    options: dict[str, Any] = {"compression": "lzf", "track_times": False}
    count = 0

    def stored(value: Any) -> Any:
        nonlocal count
        if not isinstance(value, np.ndarray) or value.shape == (3, 3):
            return np.asarray(value).tolist()
        f.create_dataset(f"map{count}", data=value, **options)
        count += 1
        return {"map": count - 1}

    described = {
        name: [{k: stored(getattr(c, k)) for k in _fields(c)} for c in compartments]
        for name, compartments in model.tissues.items()
    }
    f.create_dataset("compartments", data=np.frombuffer(json.dumps(described).encode(), np.uint8))
    if model.affine is not None:
        f.create_dataset("affine", data=model.affine)
    if model.directions is not None:
        f.create_dataset("directions", data=model.directions, **options)
        f.create_dataset("weights", data=model.weights, **options)


def _fields(c: AnyCompartment) -> tuple[str, ...]:
    return ("fraction", "tensor") if isinstance(c, TensorCompartment) else _AXIAL


def read_diffusion(f: Any, path: Path) -> DiffusionModel:
    """Read the group ``diffusion`` of a phantom file, as strictly as the rest of it.

    Raises
    ------
    PhantomFileError
        With file and field, if something is not as it must be; `PhantomError` if the model is not valid.
    """
    g = group(f, path, "diffusion")
    raw = dataset(g, path, "compartments", ("u1",), 1, MAX_TEXT)[()].tobytes()
    try:
        described = json.loads(raw)
    except ValueError as error:
        raise PhantomFileError(f"{path}: 'diffusion/compartments' must be JSON text; {error}.") from error

    def value(v: Any) -> Any:
        if isinstance(v, dict):
            name = f"map{int(v['map'])}"
            return dataset(g, path, name, ("f4", "f8"), (3, 5), 9 * MAX_CELLS)[()]
        return np.asarray(v, float)

    def built(c: dict[str, Any]) -> AnyCompartment:
        if "tensor" in c:
            return TensorCompartment(fraction=value(c["fraction"]), tensor=value(c["tensor"]))
        return Compartment(**{k: value(c[k]) for k in _AXIAL})

    fibred = has(g, "directions")
    return DiffusionModel(
        tissues={str(name): tuple(built(c) for c in listed) for name, listed in described.items()},
        affine=dataset(g, path, "affine", ("f8",), 2, 16)[()] if has(g, "affine") else None,
        directions=dataset(g, path, "directions", ("f4",), 5, 3 * MAX_FIBRES * MAX_CELLS)[()]
        if fibred
        else None,
        weights=dataset(g, path, "weights", ("f4",), 4, MAX_FIBRES * MAX_CELLS)[()] if fibred else None,
    )
