"""What checks are made of: comparisons of bits and of values, and errors that say what is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..base import Harmonizer, learned_state


class BrokenError(ValueError):
    """The harmonizer under test breaks this check."""


class NotApplicableError(ValueError):
    """The check does not apply to what the harmonizer declares."""


def require(condition: bool, problem: str) -> None:
    """Fail the check unless the condition holds."""
    if not condition:
        raise BrokenError(problem)


def random_state() -> list[bytes]:
    """Return numpy's global random state, to compare."""
    return [np.asarray(part).tobytes() for part in np.random.get_state()]  # noqa: NPY002


@contextmanager
def watched_random_state() -> Iterator[list[str]]:
    """Put numpy's global random state at an odd place, report whether it moved, and put it back."""
    moved: list[str] = []
    original = np.random.get_state()  # noqa: NPY002
    np.random.seed(271828)  # noqa: NPY002
    before = random_state()
    try:
        yield moved
        if random_state() != before:
            moved.append("global random state")
    finally:
        np.random.set_state(original)  # noqa: NPY002


def message_of(call: Callable[[], Any], expected: type[Exception], what: str) -> str:
    """Return the message of the error that a call must raise."""
    try:
        call()
    except expected as error:
        return str(error)
    except Exception as error:
        raise BrokenError(
            f"{what} must raise {expected.__name__}; got {type(error).__name__}: {error}"
        ) from error
    raise BrokenError(f"{what} must raise {expected.__name__}; got no error")


def require_named(message: str, argument: str) -> None:
    """Fail unless an error names the argument and says, in a second sentence, what to do."""
    require(argument in message, f"the error must name '{argument}'; got: {message}")
    require(". " in message, f"the error must also say what to do, in a second sentence; got: {message}")


def equal(a: list[Any], b: list[Any]) -> bool:
    """Return whether two lists of arrays agree to the bit."""
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def require_close(a: list[Any], b: list[Any], tolerance: float, problem: str) -> None:
    """Largest difference, relative to the largest magnitude, stays within the tolerance."""
    size = max(float(np.abs(x).max()) for x in a)
    worst = max(float(np.abs(np.asarray(x, float) - y).max()) for x, y in zip(a, b, strict=True))
    require(worst <= tolerance * size, f"{problem}: by {worst:.3g} where values reach {size:.3g}")


def frozen(value: Any) -> Any:
    """Copy learned attributes into something that compares bit by bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Harmonizer):
        return frozen(learned_state(value))
    if isinstance(value, dict):
        return {name: frozen(item) for name, item in value.items()}
    if isinstance(value, list):
        return [frozen(item) for item in value]
    return repr(value)
