"""Uniform handles that let one set of checks test image and feature harmonizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Harmonizer

Array = NDArray[np.floating]
Case = tuple[str, str, Callable[[], Any]]


class Bench(ABC):
    """One harmonizer with data to try it on.

    Attributes
    ----------
    tolerance
        Rounding to expect, relative to the largest value: that of the output type with some accumulation.
    argument
        Name of the data argument, which errors about the data must mention.
    other_order
        A permutation of the training samples.
    """

    tolerance: float
    argument: str
    other_order: NDArray[np.intp]

    def __init__(self, prototype: Harmonizer) -> None:
        self.prototype = prototype

    def fresh(self) -> Any:
        """Return an unfitted clone."""
        return type(self.prototype)(**self.prototype.get_params())

    @abstractmethod
    def fit(
        self,
        harmonizer: Any,
        *,
        order: NDArray[np.intp] | None = None,
        gain: float = 1.0,
        one_site: bool = False,
    ) -> Any:
        """Fit on the training samples."""

    @abstractmethod
    def outputs(
        self,
        harmonizer: Any,
        *,
        gain: float = 1.0,
        one_by_one: bool = False,
        one_site: bool = False,
        site: str | None = None,
    ) -> list[Array]:
        """Transform training and held-out samples; return arrays, one per sample."""

    @abstractmethod
    def inputs(self, *, one_site: bool = False) -> list[Array]:
        """Return the arrays that belong to ``outputs``."""

    @abstractmethod
    def fingerprint(self) -> bytes:
        """Return everything handed to the harmonizer, as bytes."""

    @abstractmethod
    def geometry_problem(self, fitted: Any) -> str | None:
        """Say what of shape, type and geometry is not kept, None if all is."""

    @abstractmethod
    def transform_nan(self, fitted: Any) -> tuple[Array, Array]:
        """Transform a sample with a NaN; return (input, output)."""

    @abstractmethod
    def mistakes(self) -> list[Case]:
        """Return (label, argument to be named, call) of calls that must raise ValueError."""

    @abstractmethod
    def hard_cases(self) -> list[Case]:
        """Return calls that may work, giving finite arrays, or raise ValueError."""
