"""Where the phantoms of `mrsim phantom` come from: the library, a cohort, or a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phantoms import Phantom, PointCloud


def load_source(source: str, voxel_size_mm: float | None, b0: float | None) -> "Phantom | PointCloud":
    """Return a phantom of the library, or of a file."""
    from phantoms import phantom_names, read_phantom_file

    path = Path(source)
    if not path.exists() and not path.suffix and (path.name == source or source in phantom_names()):
        return library_phantom(source, voxel_size_mm, {})
    if voxel_size_mm is not None:
        raise ValueError(
            f"--voxel-size-mm is for phantoms of the library; {source} is a file with its own grid"
        )
    return read_phantom_file(path, b0=b0 or 3.0)


def library_phantom(name: str, voxel_size_mm: float | None, options: dict[str, Any]) -> "Phantom":
    """Return a phantom of the library with its options."""
    from mrsim.studies.problems import InputError, did_you_mean
    from phantoms import make_phantom, phantom_names

    if name not in phantom_names():
        raise InputError.single(
            file=name, cause="is neither a phantom of the library nor a file",
            remedy=did_you_mean(name, list(phantom_names())),
        )  # fmt: skip
    if voxel_size_mm is not None and "voxel_size" in options:
        raise ValueError("--voxel-size-mm and --set voxel_size=... say the same thing; give one of them")
    if voxel_size_mm is not None:
        options = {**options, "voxel_size": voxel_size_mm * 1e-3}
    return make_phantom(name, **options)


def one_subject(path: Path, number: int, visit: int, voxel_size: float | None) -> "Phantom":
    """Return one subject of a cohort at one visit."""
    from mrsim.studies.problems import InputError
    from phantoms import load_cohort_spec, make_subject, sample_cohort

    spec = load_cohort_spec(path)
    if not (number < spec.n_subjects and visit < len(spec.visits)):
        raise InputError.single(
            file=str(path),
            cause=f"has the subjects 0..{spec.n_subjects - 1} and the visits 0..{len(spec.visits) - 1}",
            remedy=f"Got --subject {number} --visit {visit}.",
        )
    chosen = sample_cohort(spec)[number * len(spec.visits) + visit]
    return make_subject(chosen, voxel_size=voxel_size, keep_transform=True)


def read_options(pairs: list[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE``; values are JSON numbers, lists, true, false, null, or plain text."""
    import json

    out: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"--set must be KEY=VALUE; got {pair!r}")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        out[key] = tuple(value) if isinstance(value, list) else value
    return out


def own_field(phantom: "Phantom") -> float:
    """Return the field [T] that the values of a phantom were given at, or 3."""
    held = phantom.provenance.get("values_hold_at_t")
    return float(held) if isinstance(held, int | float) else 3.0


def is_native(path: Path) -> bool:
    """Return whether a file is one of ours."""
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as f:
        return f.attrs.get("format") in ("mrsim-phantom", "mrsim-cloud")
