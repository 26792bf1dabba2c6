"""Movements composed of several actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .actions import Action, Array, Path, Rotate, Translate
from .motion import Motion, Pose
from .phantom import PhantomError


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Composition(Motion):
    """Several actions on one object.

    Sorted by their start, the composable ones (rotations, heart beats) act one after the other on positions
    already moved; then the displacements of the others (translations, paths) add.

    Parameters
    ----------
    actions : tuple of Action
        At least none; sorted on construction.
    """

    actions: tuple[Action, ...]

    def __post_init__(self) -> None:
        actions = tuple(sorted(self.actions, key=lambda a: float(a.curve.times[0])))
        object.__setattr__(self, "actions", actions)
        for j, action in enumerate(self._composable):
            if isinstance(action, Rotate) and action.follows:
                for earlier in self._composable[:j]:
                    _carries(earlier, action)

    @property
    def _composable(self) -> tuple[Action, ...]:
        return tuple(a for a in self.actions if a.composable)

    @property
    def center(self) -> Array:
        """Point that `pose` refers to: the origin."""
        return np.zeros(3)

    @property
    def is_rigid(self) -> bool:
        """Whether all actions are translations and rotations of all points."""
        return all(a.rigid and a.spins is None for a in self.actions)

    @property
    def resets(self) -> bool:
        """Whether some path lets its spins return fresh."""
        return any(isinstance(a, Path) and a.reset is not None for a in self.actions)

    def _centers(self, t: Array) -> list[Array]:
        """Return the centre (k, 3) of each composable action at the times t."""
        actions = self._composable
        centers = [
            np.repeat((a.center if isinstance(a, Rotate) else np.zeros(3))[None], t.size, axis=0)
            for a in actions
        ]
        for i, action in enumerate(actions):
            u = action.curve.at(t)
            for j in range(i + 1, len(actions)):
                later = actions[j]
                if isinstance(later, Rotate) and later.follows and _carries(action, later):
                    centers[j] = action.carry(centers[j][:, None], u, centers[i])[:, 0]
        return centers

    def positions(self, r0: NDArray[np.float64], times: ArrayLike) -> Array:
        """Return where the points are, shape (k, n, 3) [m]."""
        t = np.atleast_1d(np.asarray(times, np.float64))
        r = np.repeat(np.asarray(r0, np.float64)[None], t.size, axis=0)
        additive = [a for a in self.actions if not a.composable]
        pairs = [*zip(self._composable, self._centers(t), strict=True)]
        for action, center in [*pairs, *((a, np.zeros((t.size, 3))) for a in additive)]:
            who = slice(None) if action.spins is None else action.spins
            r[:, who] = action.move(r[:, who], action.curve.at(t), center)
        return r

    def knots(self, duration: float) -> Array:
        """Return the kinks [s] of all actions in 0..duration."""
        return np.unique(np.concatenate([np.zeros(0), *(a.knots(duration) for a in self.actions)]))

    def select(self, index: NDArray[np.intp]) -> Composition:
        """Return the movement of a cloud whose point i is the old point ``index[i]``."""
        kept = (a.select(np.asarray(index, np.intp)) for a in self.actions)
        return Composition(actions=tuple(a for a in kept if a is not None))

    def pose(self, times: ArrayLike) -> Pose:
        """Return R (k, 3, 3) and T (k, 3) [m] at the times [s]: r(t) = R r0 + T.

        Raises
        ------
        PhantomError
            If the movement is not rigid.
        """
        if not self.is_rigid:
            return super().pose(times)
        t = np.atleast_1d(np.asarray(times, np.float64))
        turn, shift = np.repeat(np.eye(3)[None], t.size, axis=0), np.zeros((t.size, 3))
        for action, center in zip(self._composable, self._centers(t), strict=True):
            assert isinstance(action, Rotate)
            step = action.matrices(action.curve.at(t))
            turn = step @ turn
            shift = np.einsum("kij,kj->ki", step, shift - center) + center
        for action in self.actions:
            if isinstance(action, Translate):
                shift = shift + action.curve.at(t)[:, None] * action.shift
        return turn, shift


def _carries(earlier: Action, later: Action) -> bool:
    """Return whether an action moves the points of a later one: all of them or none, else `PhantomError`."""
    if earlier.spins is None:
        return True
    if later.spins is not None:
        inside = np.isin(later.spins, earlier.spins)
        if inside.all() or not inside.any():
            return bool(inside.all())
    raise PhantomError(
        "a rotation about the centre of mass must follow actions that move all of its points or none; got "
        "one that moves some. Give the rotation a fixed center."
    )
