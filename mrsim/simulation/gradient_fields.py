"""Where gradient coils put a point: their spatial fields, the derivatives and the inverse.

A perfect coil along x makes Bz = G x; a real one G F_x(r). An image that knows nothing of it shows the object
at r where F(r) = (F_x, F_y, F_z) lies: F is both field per unit gradient and displacement map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from protocols import GradientCoil

from .harmonics import solid_gradients, solid_harmonics

_CHUNK = 1 << 14
"""Points evaluated at once: 100 harmonics of 16 bytes each stay in the cache of a processor."""


class GradientField(ABC):
    """Spatial field of the three gradient coils."""

    @abstractmethod
    def field(self, position: np.ndarray) -> np.ndarray:
        """Bz per unit gradient of the coils x, y, z at world positions (n, 3) [m]; (n, 3) [m].

        A perfect coil gives back the coordinate.
        """

    def jacobian(self, position: np.ndarray) -> np.ndarray:
        """Return dF_c/dr_i, (n, 3 coils, 3), at world positions (n, 3) [m]; the unit matrix if perfect.

        Row c is the gradient that coil c makes per unit of current: the b-tensor of diffusion sees it.
        By central differences of 0.1 mm unless a class knows better.
        """
        step = 1e-4
        columns = [
            (self.field(position + step * axis) - self.field(position - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ]
        return np.stack(columns, axis=2)


@final
@dataclass(frozen=True, kw_only=True)
class PolynomialField(GradientField):
    """Field of each coil as a polynomial of the coordinates.

    terms : per coil a tuple of (coefficient, (i, j, k)) with the term coefficient x^i y^j z^k, in metres.
    """

    terms: tuple[tuple[tuple[float, tuple[int, int, int]], ...], ...]

    def __post_init__(self) -> None:
        if len(self.terms) != 3:
            raise ValueError(f"terms must hold three coils; got {len(self.terms)}.")

    def field(self, position: np.ndarray) -> np.ndarray:
        """Evaluate the polynomials; see `GradientField.field`."""
        x, y, z = position.T
        return np.stack([sum(c * x**i * y**j * z**k for c, (i, j, k) in coil) for coil in self.terms], axis=1)


Terms = tuple[tuple[tuple[int, int, float], ...], ...]


@final
@dataclass(frozen=True, kw_only=True)
class SphericalHarmonicField(GradientField):
    """Field of each coil as solid spherical harmonics relative to the linear term.

    The linear term is exact; each further one is coefficient r0 (r/r0)^n P_nm(cos theta) times cos(m phi) or
    sin(m phi), with P_nm the unnormalised associated Legendre function without the Condon-Shortley phase.

    Parameters
    ----------
    radius : float
        Reference radius r0 [m].
    cosine, sine : tuple
        For each of the three coils a tuple of (n, m, coefficient), order n >= 2.
    """

    radius: float
    cosine: Terms = ((), (), ())
    sine: Terms = ((), (), ())

    def __post_init__(self) -> None:
        if not 0.01 <= self.radius <= 1.0 or len(self.cosine) != 3 or len(self.sine) != 3:
            raise ValueError(
                f"radius must be 0.01..1 m and each list hold three coils; got {self.radius}, "
                f"{len(self.cosine)}, {len(self.sine)}."
            )
        for coil in (*self.cosine, *self.sine):
            for n, m, _ in coil:
                if not 2 <= n <= 20 or not 0 <= m <= n:
                    raise ValueError(f"harmonics must have 2 <= n <= 20 and 0 <= m <= n; got n={n}, m={m}.")

    @classmethod
    def of_coil(cls, coil: GradientCoil, *, excess: float = 0.0) -> SphericalHarmonicField:
        """Field of a coil of the library, in whichever normalisation its table is.

        Parameters
        ----------
        coil : GradientCoil
        excess : float
            Relative excess of all harmonics over the table.
        """
        plain = coil.unnormalised()
        axes = (plain.x, plain.y, plain.z)
        grow = 1.0 + excess
        return cls(
            radius=plain.radius,
            cosine=tuple(tuple((t.n, t.m, grow * t.cosine) for t in axis if t.cosine) for axis in axes),
            sine=tuple(tuple((t.n, t.m, grow * t.sine) for t in axis if t.sine) for axis in axes),
        )

    @property
    def _matrix(self) -> np.ndarray:
        """Complex weights (3 coils, degree + 1, degree + 1): the field is r0 Re sum weight R_n^m."""
        top = max((n for coil in (*self.cosine, *self.sine) for n, _, _ in coil), default=1)
        weight = np.zeros((3, top + 1, top + 1), complex)
        for coil in range(3):
            for n, m, c in self.cosine[coil]:
                weight[coil, n, m] += c
            for n, m, c in self.sine[coil]:
                # Re(-i R) is the sine part.
                weight[coil, n, m] -= 1j * c
        return weight

    def field(self, position: np.ndarray) -> np.ndarray:
        """Evaluate the harmonics; see `GradientField.field`."""
        weight = self._matrix
        out = np.array(position, dtype=float)
        for part in _chunks(len(out)):
            values = solid_harmonics(out[part] / self.radius, weight.shape[1] - 1)
            out[part] += self.radius * np.einsum("cnm,nmp->pc", weight, values).real
        return out

    def jacobian(self, position: np.ndarray) -> np.ndarray:
        """Return the exact derivatives; see `GradientField.jacobian`."""
        weight = self._matrix
        out = np.empty((len(position), 3, 3))
        for part in _chunks(len(out)):
            values = solid_harmonics(np.asarray(position[part], float) / self.radius, weight.shape[1] - 1)
            out[part] = np.eye(3) + np.einsum("cnm,inmp->pci", weight, solid_gradients(values)).real
        return out


@final
@dataclass(frozen=True, kw_only=True)
class ScaledField(GradientField):
    """Field whose coils are each stronger than they should be.

    base : field, None = linear;  scale : strength of the coils along world x, y, z over the nominal one.
    """

    base: GradientField | None = None
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def field(self, position: np.ndarray) -> np.ndarray:
        """Evaluate the base and scale; see `GradientField.field`."""
        reached = np.asarray(position, float) if self.base is None else self.base.field(position)
        return np.asarray(reached * np.asarray(self.scale))

    def jacobian(self, position: np.ndarray) -> np.ndarray:
        """Return the derivatives; see `GradientField.jacobian`."""
        if self.base is None:
            return np.broadcast_to(np.diag(self.scale), (len(position), 3, 3)).copy()
        return np.asarray(self.base.jacobian(position) * np.asarray(self.scale)[:, None])


def _chunks(count: int) -> list[slice]:
    return [slice(i, i + _CHUNK) for i in range(0, count, _CHUNK)]


def imaged_positions(field: GradientField | None, position: np.ndarray) -> np.ndarray:
    """Where an image that believes in linear gradients shows points of the object, (n, 3) [m]."""
    return np.array(position, float) if field is None else field.field(np.asarray(position, float))


def object_positions(
    field: GradientField | None, imaged: np.ndarray, *, tolerance: float = 1e-8, limit: float = 0.5
) -> np.ndarray:
    """Where the points of the object lie that an image shows at given places: the inverse of the field.

    Newton's method with the exact Jacobian, each step no longer than 2 cm and halved as long as it does not
    bring the field closer.

    Parameters
    ----------
    field : GradientField or None
        None = linear.
    imaged : array (n, 3)
        Places in the image, world [m].
    tolerance : float
        Largest remaining distance [m].
    limit : float
        Points farther than this from the isocentre are refused [m].

    Returns
    -------
    array (n, 3) [m]

    Raises
    ------
    ValueError
        If some place has no origin, which happens beyond the coil's useful volume.
    """
    wanted = np.asarray(imaged, float)
    if field is None:
        return wanted.copy()
    at = wanted.copy()
    rest = wanted - field.field(at)
    distance = np.linalg.norm(rest, axis=1)
    for _ in range(60):
        open_ = np.flatnonzero(distance > tolerance)
        if not open_.size:
            return at
        move = _newton_step(field, at[open_], rest[open_])
        for _ in range(12):
            trial = at[open_] + move
            remaining = wanted[open_] - field.field(trial)
            better = np.linalg.norm(remaining, axis=1) < distance[open_]
            accepted = open_[better]
            at[accepted], rest[accepted] = trial[better], remaining[better]
            distance[accepted] = np.linalg.norm(remaining[better], axis=1)
            open_, move = open_[~better], 0.5 * move[~better]
            if not open_.size:
                break
        if open_.size or np.linalg.norm(at, axis=1).max() > limit:
            break
    worst = int(np.argmax(distance))
    raise ValueError(
        f"the gradient coil must reach every place of the image; {np.count_nonzero(distance > tolerance)} of "
        f"{len(wanted)} have no origin, such as {np.round(wanted[worst], 3).tolist()} m. Stay inside the "
        "coil's useful volume."
    )


def _newton_step(field: GradientField, at: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return Newton steps (n, 3) [m] of at most 2 cm; along the rest where the Jacobian folds."""
    jacobian = field.jacobian(at)
    safe = np.linalg.det(jacobian) > 1e-3
    step = rest.copy()
    step[safe] = np.linalg.solve(jacobian[safe], rest[safe][..., None])[..., 0]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, 0.02 / np.maximum(length, 1e-12)))
