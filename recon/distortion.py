"""Gradient nonlinearity: images resampled to where things are, from the coils' harmonics in the header.

A gradient coil encodes x + d(x) instead of x; an image shows what is at x at the place x + d(x), brighter
where the map is compressed.  The corrected image at x is the distorted one at x + d(x), times the Jacobian
determinant of that map (doi:10.1016/j.neuroimage.2005.09.046 for why it matters).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descriptions import user_list
from .errors import RawDataError
from .options import ReconOptions
from .raw import RawData
from .volume import Record

__all__ = ["PARAMETER", "GradientCoils", "correct_distortion", "unwarp"]

PARAMETER = "mrsim_gradient_distortion"
"""Name of the user parameter that carries the harmonics as JSON."""
MAX_DEGREE = 20
_CHUNK = 2**18
_SLAB = 16

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientCoils:
    """Field of the x, y and z coils as solid harmonics beside the linear term, isocentre at the origin.

    d_i(x) = radius * sum c (r / radius)^n P_nm(cos theta) {cos, sin}(m phi), with P_nm the unnormalised
    associated Legendre function without the Condon-Shortley phase, theta from +z (superior), phi from +x
    (right) towards +y (anterior).

    radius : reference [m];  cosine, sine : for each coil its terms (n, m, c)
    """

    radius: float
    cosine: tuple[tuple[tuple[int, int, float], ...], ...]
    sine: tuple[tuple[tuple[int, int, float], ...], ...]

    @classmethod
    def from_json(cls, content: Any, source: str) -> GradientCoils:
        """Read the header's description.

        Raises
        ------
        RawDataError
            It is not of the expected form.
        """
        try:
            if content.get("version") != 1 or content.get("frame") != "RAS":
                raise ValueError("version must be 1 and frame RAS")
            radius = float(content["radius"])
            if not 0.01 <= radius <= 2:
                raise ValueError(f"radius must be 0.01 to 2 m; got {radius}")
            if len(content["cosine"]) != 3 or len(content["sine"]) != 3:
                raise ValueError("cosine and sine must hold three coils")
            cosine = tuple(_terms(coil) for coil in content["cosine"])
            sine = tuple(_terms(coil) for coil in content["sine"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RawDataError(
                f"{source}: user parameter '{PARAMETER}' must describe the gradient coils; {error!r}. Mend "
                "it or switch distortion_correction off."
            ) from None
        return cls(radius=radius, cosine=cosine, sine=sine)

    def displacement(self, points: Points) -> Points:
        """Displacement d (p, 3) [m] at world points (p, 3) [m]."""
        x, y, z = (points / self.radius).T
        r2 = x * x + y * y + z * z
        out = np.zeros_like(points)
        wanted = {t[:2] for kind in (self.cosine, self.sine) for terms in kind for t in terms}
        for (n, m), value in _solid_legendre(wanted, z, r2):
            turn = (x + 1j * y) ** m
            for axis in range(3):
                for terms, angle in ((self.cosine[axis], turn.real), (self.sine[axis], turn.imag)):
                    amount = sum(c for a, b, c in terms if (a, b) == (n, m))
                    if amount:
                        out[:, axis] += amount * value * angle
        return out * self.radius


def _terms(rows: Any) -> tuple[tuple[int, int, float], ...]:
    terms = []
    if len(rows) > 1000:
        raise ValueError("more than 1000 terms")
    for n, m, c in rows:
        if int(n) != n or int(m) != m or not 2 <= n <= MAX_DEGREE or not 0 <= m <= n:
            raise ValueError(f"terms need 2 <= n <= {MAX_DEGREE} and 0 <= m <= n; got n={n}, m={m}")
        if not math.isfinite(float(c)) or abs(float(c)) > 10:
            raise ValueError(f"coefficient of n={n}, m={m} must be within +-10; got {c}")
        terms.append((int(n), int(m), float(c)))
    return tuple(terms)


def _solid_legendre(
    wanted: set[tuple[int, int]], z: Points, r2: Points
) -> Iterator[tuple[tuple[int, int], Points]]:
    """Yield r^n P_nm(cos theta) / (sin theta)^m / r^m for the wanted (n, m): polynomials in z and r^2.

    P_mm = (2 m - 1)!! sin^m; (n - m) P_nm = (2 n - 1) cos P_(n-1)m - (n + m - 1) P_(n-2)m.
    """
    for m in sorted({m for _, m in wanted}):
        top = max(n for n, k in wanted if k == m)
        before = np.zeros_like(z)
        current = np.full_like(z, float(math.prod(range(2 * m - 1, 0, -2))))
        for n in range(m, top + 1):
            if n > m:
                step = ((2 * n - 1) * z * current - (n + m - 1) * r2 * before) / (n - m)
                before, current = current, step
            if (n, m) in wanted:
                yield (n, m), current


def unwarp(
    image: NDArray[Any],
    affine: NDArray[np.float64],
    displacement: Callable[[Points], Points],
    *,
    through_plane: bool = True,
    order: int = 3,
) -> NDArray[Any]:
    """Resample a distorted volume (x, y, slice) to true positions, intensities by the Jacobian.

    Parameters
    ----------
    image
        Real or complex, shape (x, y, z).
    affine
        Voxel index to world [m].
    displacement
        From world points (p, 3) to the displacement of what is there (p, 3), both [m].
    through_plane
        Also move along the third axis; otherwise within the slices only.
    order
        Of the interpolating spline.
    """
    return _unwarp(image, _voxel_shift(affine, image.shape, displacement, through_plane), order)


def _unwarp(image: NDArray[Any], shift: NDArray[np.float32], order: int = 3) -> NDArray[Any]:
    if np.iscomplexobj(image):
        parts = [_resample(part, shift, order) for part in (image.real, image.imag)]
        return np.asarray(parts[0] + 1j * parts[1], image.dtype)
    result = _resample(image, shift, order)
    # A spline overshoots at edges; a magnitude does not become negative.
    return np.asarray(np.maximum(result, 0) if image.min() >= 0 else result, image.dtype)


def _voxel_shift(
    affine: NDArray[np.float64],
    shape: tuple[int, ...],
    displacement: Callable[[Points], Points],
    through_plane: bool,
) -> NDArray[np.float32]:
    """Displacement of what is at each voxel's place, in voxels: (3, x, y, z)."""
    inverse = np.linalg.inv(affine[:3, :3])
    shift = np.empty((3, *shape), np.float32)
    flat = shift.reshape(3, -1)
    for i in range(0, flat.shape[1], _CHUNK):
        part = np.arange(i, min(i + _CHUNK, flat.shape[1]))
        index = np.stack(np.unravel_index(part, shape), axis=1)
        points = index @ affine[:3, :3].T + affine[:3, 3]
        flat[:, part[0] : part[-1] + 1] = inverse @ displacement(points).T
    if not through_plane or shape[2] == 1:
        shift[2] = 0
    return shift


def _resample(image: NDArray[Any], shift: NDArray[np.float32], order: int) -> NDArray[np.float64]:
    """Spline at the shifted places times the Jacobian determinant, slab by slab along the first axis."""
    from scipy import ndimage

    coefficients = image.astype(np.float64)
    for axis, n in enumerate(image.shape):
        if n > 1 and order > 1:
            coefficients = ndimage.spline_filter1d(coefficients, order, axis, mode="mirror")
    result, n = np.empty(image.shape), image.shape[0]
    for a in range(0, n, _SLAB):
        b, low, high = min(a + _SLAB, n), max(a - 1, 0), min(a + _SLAB + 1, n)
        place = np.indices((b - a, *image.shape[1:]), dtype=np.float64)
        place[0] += a
        place += shift[:, a:b]
        found = ndimage.map_coordinates(
            coefficients, place, order=order, mode="constant", cval=0.0, prefilter=False
        )
        result[a:b] = found * _jacobian(shift[:, low:high])[a - low : a - low + b - a]
    return result


def _jacobian(shift: NDArray[np.float32]) -> NDArray[np.float64]:
    """Take the determinant of the derivative of the map, from central differences of the shift in voxels."""
    m = np.zeros((3, 3, *shift.shape[1:]))
    for i in range(3):
        m[i, i] = 1
        for j in range(3):
            if shift.shape[j + 1] > 1:
                m[i, j] += np.gradient(shift[i].astype(np.float64), axis=j)
    minors = np.cross(m[1], m[2], axis=0)
    return np.asarray(np.maximum((m[0] * minors).sum(axis=0), 0))


def correct_distortion(
    data: NDArray[Any],
    affine: NDArray[np.float64],
    raw: RawData,
    options: ReconOptions,
    sidecar: dict[str, Any],
    record: Record,
) -> NDArray[Any]:
    """Apply the correction that the options ask for; says in the sidecar what was done.

    Raises
    ------
    RawDataError
        The header's harmonics are not usable.
    """
    content = user_list(raw.header.parameters, PARAMETER)
    if content is None:
        record.note("distortion_correction skipped: the header has no gradient harmonics")
        sidecar["NonlinearGradientCorrection"] = False
        return data
    coils = GradientCoils.from_json(content, raw.source)
    three = options.distortion_correction == "3d"
    volumes = data if data.ndim == 4 else data[..., None]
    shift = _voxel_shift(affine, volumes.shape[:3], coils.displacement, three)
    done = [_unwarp(volumes[..., v], shift) for v in range(volumes.shape[3])]
    sidecar["NonlinearGradientCorrection"] = True
    sidecar["ImageType"] = ["ORIGINAL", "PRIMARY", "M", "DIS3D" if three else "DIS2D"]
    record.recipe["distortion_correction"] = options.distortion_correction
    return done[0] if data.ndim == 3 else np.stack(done, axis=3)
