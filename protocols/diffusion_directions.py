"""Directions of diffusion encoding: even coverage of the sphere, order of volumes, files of FSL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .records import RecordError
from .sequence import FloatArray

_MAX_FILE = 4 * 1024 * 1024
_BETWEEN_SHELLS = 0.5  # weight of the joint coverage against that of each shell
_GOLDEN = np.pi * (3.0 - np.sqrt(5.0))


def even_directions(counts: ArrayLike) -> list[FloatArray]:
    """Spread directions evenly over the sphere, in every shell and over all shells together.

    Parameters
    ----------
    counts : array_like of int, shape (n_shells,)
        Directions per shell.

    Returns
    -------
    list of ndarray of float, shape (count, 3)
        Unit vectors per shell. Always the same for the same counts.

    Notes
    -----
    Minimises the electrostatic energy ``sum 1/|u - v| + 1/|u + v|`` of charge pairs at u and -u (Jones,
    Horsfield and Simmons 1999) inside each shell, plus half that of all shells together, each per
    number of pairs (Caruyer et al. 2013, doi:10.1002/mrm.24736), from a golden-angle start.
    """
    numbers = [int(n) for n in np.atleast_1d(np.asarray(counts))]
    if any(n < 1 or n > 1024 for n in numbers):
        raise RecordError("directions", [f"each shell must have 1..1024 directions; got {numbers}"])
    total = sum(numbers)
    shell = np.repeat(np.arange(len(numbers)), numbers)
    # Shells take turns along one golden-angle spiral, so that the start already covers both.
    rank = np.argsort(np.concatenate([(np.arange(n) + 0.5) / n for n in numbers]), kind="stable")
    spiral = _half_sphere(total)
    start = np.empty_like(spiral)
    start[rank] = spiral
    vectors = _relax(start, _pair_weights(shell))
    vectors *= np.where(vectors[:, 2:] < 0.0, -1.0, 1.0)
    # Alternate between both halves: a direction and its opposite weigh alike, but eddy currents and
    # cross terms with imaging gradients then average out over the set.
    vectors[1::2] *= -1.0
    return [np.asarray(vectors[shell == n]) for n in range(len(numbers))]


def _half_sphere(count: int) -> FloatArray:
    """Golden-angle points on the upper half sphere, shape (count, 3)."""
    z = 1.0 - (np.arange(count) + 0.5) / count
    radius, angle = np.sqrt(1.0 - z**2), _GOLDEN * np.arange(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def _pair_weights(shell: NDArray[np.int64]) -> FloatArray:
    """Weight of each pair: its shell's share and the joint share, shape (n, n), zero on the diagonal."""
    same = shell[:, None] == shell[None, :]
    size = np.bincount(shell)[shell].astype(float)
    within = same / np.maximum(size**2, 1.0)[:, None]
    joint = np.ones(same.shape) / shell.size**2
    several = bool(shell.max() > 0)
    weights = within + _BETWEEN_SHELLS * joint if several else within
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _relax(start: FloatArray, weights: FloatArray) -> FloatArray:
    """Minimise the energy of antipodal charges by L-BFGS on normalised vectors."""
    from scipy.optimize import minimize

    if start.shape[0] == 1:
        return start

    def energy(flat: FloatArray) -> tuple[float, FloatArray]:
        raw = flat.reshape(-1, 3)
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        u = raw / length
        cosine = np.clip(u @ u.T, -1.0, 1.0)
        np.fill_diagonal(cosine, 0.0)
        minus, plus = np.sqrt(2.0 - 2.0 * cosine) + 1e-9, np.sqrt(2.0 + 2.0 * cosine) + 1e-9
        value = 0.5 * float(np.sum(weights * (1.0 / minus + 1.0 / plus)))
        slope = weights * (minus**-3 - plus**-3)  # d(energy)/d(cosine) of each pair
        gradient = slope @ u
        gradient -= np.sum(gradient * u, axis=1, keepdims=True) * u
        return value, (gradient / length).ravel()

    options = {"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-10}
    result = minimize(energy, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    raw = result.x.reshape(-1, 3)
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True))


def diffusion_table(shells: ArrayLike, counts: ArrayLike, b0_volumes: int) -> tuple[FloatArray, FloatArray]:
    """Order of volumes: shells interleaved evenly, unweighted volumes spread from the first on.

    Parameters
    ----------
    shells : array_like of float, shape (n_shells,)
        b-values [s/m^2].
    counts : array_like of int, shape (n_shells,)
        Directions per shell.
    b0_volumes : int
        Volumes without diffusion gradients.

    Returns
    -------
    b : ndarray of float, shape (n_volumes,)
        [s/m^2].
    direction : ndarray of float, shape (n_volumes, 3)
        Unit vectors; zeros where b is 0.
    """
    values = np.atleast_1d(np.asarray(shells, dtype=np.float64))
    sets = even_directions(counts) if values.size else []
    weighted = [
        ((n + 0.5) / len(vectors), shell, float(b), vectors[n])
        for shell, (b, vectors) in enumerate(zip(values, sets, strict=True))
        for n in range(len(vectors))
    ]
    weighted.sort(key=lambda item: item[:2])
    volumes = [(b, vector) for _, _, b, vector in weighted]
    plain = (0.0, np.zeros(3))
    for n in range(b0_volumes):
        # Inserted in ascending order: earlier insertions have already moved the later ones back.
        volumes.insert(n + n * len(weighted) // max(1, b0_volumes), plain)
    return np.array([b for b, _ in volumes]), np.array([v for _, v in volumes]).reshape(-1, 3)


def read_fsl(
    bval: str | Path, bvec: str | Path, rotation: FloatArray, affine: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Read b-values and directions from FSL's text files into logical axes.

    Parameters
    ----------
    bval, bvec : str or Path
        Text files: one row of b-values [s/mm^2]; three rows (or columns) of directions.
    rotation : ndarray of float, shape (3, 3)
        Columns are the logical axes in world RAS (`Prescription.rotation`).
    affine : ndarray of float, shape (4, 4)
        Of the image that the files belong to.

    Returns
    -------
    b : ndarray of float, shape (n,)
        [s/m^2].
    direction : ndarray of float, shape (n, 3)
        Unit vectors in logical axes; zeros where b is 0.

    Raises
    ------
    RecordError
        If a file is too large, not numeric, or the two do not fit together.
    """
    values, vectors = _numbers(Path(bval)).ravel(), _numbers(Path(bvec))
    if vectors.shape[0] == 3 and vectors.shape[1] == values.size:
        vectors = vectors.T
    if vectors.shape != (values.size, 3):
        raise RecordError(
            "bvec", [f"must have 3 rows of {values.size} numbers, as the b-values; got {vectors.shape}"]
        )
    if not np.isfinite(values).all() or values.min(initial=0.0) < 0.0 or not np.isfinite(vectors).all():
        raise RecordError("bval, bvec", ["must be finite, b-values not negative"])
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    if np.any((norm[:, 0] < 0.5) & (values > 0.0)):
        raise RecordError("bvec", ["must be unit vectors where the b-value is not 0"])
    unit = np.where((values > 0.0)[:, None], vectors / np.where(norm > 0.0, norm, 1.0), 0.0)
    return values * 1e6, unit @ _image_to_logical(rotation, affine).T


def fsl_directions(direction: FloatArray, rotation: FloatArray, affine: FloatArray) -> FloatArray:
    """Turn logical directions into FSL's bvecs.

    Parameters
    ----------
    direction : ndarray of float, shape (n, 3)
        Unit vectors in logical axes.
    rotation : ndarray of float, shape (3, 3)
        Columns are the logical axes in world RAS.
    affine : ndarray of float, shape (4, 4)
        Of the image: voxel index to world RAS.

    Returns
    -------
    ndarray of float, shape (n, 3)
        Along the image's voxel axes; the first is negated where the affine's determinant is positive
        (FSL counts it from the other side then: https://fsl.fmrib.ox.ac.uk, FDT user guide).
    """
    return np.asarray(direction @ _image_to_logical(rotation, affine))


def write_fsl(folder: str | Path, stem: str, b: FloatArray, bvecs: FloatArray) -> tuple[Path, Path]:
    """Write ``stem.bval`` [s/mm^2] and ``stem.bvec``; `b` in s/m^2, `bvecs` of shape (n, 3)."""
    paths = Path(folder) / f"{stem}.bval", Path(folder) / f"{stem}.bvec"
    rows = np.asarray(bvecs).T + 0.0  # + 0.0 turns -0 into 0
    texts = (
        " ".join(f"{value:.10g}" for value in np.asarray(b) * 1e-6),
        "\n".join(" ".join(f"{value:.8f}" for value in row) for row in rows),
    )
    for path, text in zip(paths, texts, strict=True):
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    return paths


def _image_to_logical(rotation: FloatArray, affine: FloatArray) -> FloatArray:
    """Matrix (3, 3) that takes FSL's image axes to logical axes; orthonormal."""
    linear = np.asarray(affine, dtype=np.float64)[:3, :3]
    # The nearest rotation keeps unit vectors of sheared affines unit.
    u, _, vt = np.linalg.svd(linear / np.linalg.norm(linear, axis=0))
    axes = u @ vt
    if np.linalg.det(linear) > 0.0:
        axes = axes * np.array([-1.0, 1.0, 1.0])
    return np.asarray(np.asarray(rotation).T @ axes)


def _numbers(path: Path) -> FloatArray:
    size = path.stat().st_size
    if size > _MAX_FILE:
        raise RecordError(path.name, [f"file must not exceed {_MAX_FILE} bytes; got {size}"])
    try:
        rows = [[float(token) for token in line.split()] for line in path.read_text("utf-8").splitlines()]
        return np.array([row for row in rows if row], dtype=np.float64).reshape(
            len([row for row in rows if row]), -1
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise RecordError(path.name, [f"must hold rows of equally many numbers; {error}"]) from error
