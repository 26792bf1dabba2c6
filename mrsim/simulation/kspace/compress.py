"""Few basis curves instead of one history per tissue: truncated SVD with a stated error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Basis:
    """``matrix ~ curves @ coefficients`` with relative weighted error ``error``.

    curves : (rows, rank), orthonormal under the row weights;  coefficients : (rank, columns).
    """

    curves: np.ndarray
    coefficients: np.ndarray
    error: float

    @property
    def rank(self) -> int:
        """Number of curves."""
        return int(self.curves.shape[1])


def compress(matrix: np.ndarray, columns: np.ndarray, rows: np.ndarray, tolerance: float) -> Basis:
    """Best low-rank factors of a tall matrix whose rows and columns carry different energy.

    Parameters
    ----------
    matrix : complex array (rows, columns)
        One history per column.
    columns : array (columns,)
        Energy share of each column, >= 0.
    rows : array (rows,)
        Energy share of each row, > 0: what the object's spectrum puts there.
    tolerance : float
        Relative error (weighted Frobenius norm) that may be left, 0 < tolerance < 1.

    Returns
    -------
    Basis
        With the fewest curves that keep the tolerance.
    """
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance must lie between 0 and 1; got {tolerance}. Try 1e-3.")
    root = np.sqrt(rows)[:, None]
    tall = matrix * root
    scaled = tall * np.sqrt(columns)[None, :]
    wide = scaled.shape[0] < scaled.shape[1]
    energy, vectors = np.linalg.eigh(scaled @ scaled.conj().T if wide else scaled.conj().T @ scaled)
    energy, vectors = energy[::-1].clip(min=0.0), vectors[:, ::-1]
    total = energy.sum()
    if total == 0.0:
        empty = np.zeros((1, matrix.shape[1]), matrix.dtype)
        return Basis(curves=np.zeros((matrix.shape[0], 1), matrix.dtype), coefficients=empty, error=0.0)
    left = np.sqrt(np.append(total - np.cumsum(energy), 0.0).clip(min=0.0) / total)
    rank = int(np.argmax(left <= tolerance)) + 1
    # The Gram matrix squares: values below 1e-15 of the first are rounding, not signal.
    rank = max(1, min(rank, int(np.sum(energy > 1e-15 * energy[0]))))
    orthonormal = vectors[:, :rank] if wide else np.linalg.qr(scaled @ vectors[:, :rank])[0]
    coefficients = orthonormal.conj().T @ tall
    residual = (tall - orthonormal @ coefficients) * np.sqrt(columns)[None, :]
    error = float(np.linalg.norm(residual) / np.sqrt(total))
    return Basis(curves=orthonormal / root, coefficients=coefficients, error=error)
