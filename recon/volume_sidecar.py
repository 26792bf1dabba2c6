"""Sidecar values that differ between volumes: times, angles, and the direction of an echo train."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cartesian import CartesianGrid, calibration_only, line_indices
from .raw import RawData

__all__ = ["echo_train", "stack_sidecars", "volume_sidecar"]

_AXES = "ijk"
Axes = tuple[tuple[int, ...], tuple[int, ...]]


def volume_sidecar(
    raw: RawData,
    key: dict[str, int],
    keys: list[dict[str, int]],
    rows: NDArray[np.intp],
    grid: CartesianGrid,
    axes: Axes,
) -> dict[str, Any]:
    """Find what is particular to one volume.

    Parameters
    ----------
    key, keys
        Counters of this volume and of all.
    rows
        Its readouts.
    axes
        Order and signs of the image's axes, see `geometry.canonical_axes`.
    """
    header = raw.header
    values: dict[str, Any] = {}
    for name, listed in (
        ("EchoTime", header.te),
        ("InversionTime", header.ti),
        ("FlipAngle", header.flip_deg),
        ("RepetitionTime", header.tr),
    ):
        own = _of_volume(listed, key, keys)
        if own is not None and (name != "InversionTime" or own > 0):
            values[name] = own
    if grid.encoding.trajectory == "epi":
        values |= echo_train(raw, rows, grid, axes)
    return values


def _of_volume(listed: tuple[float, ...], key: dict[str, int], keys: list[dict[str, int]]) -> float | None:
    """Value of one volume in a list that follows the contrasts, sets, phases or repetitions."""
    if len(listed) < 2:
        return None
    for name in ("contrast", "set", "repetition", "phase"):
        count = 1 + max(k[name] for k in keys)
        if count == len(listed):
            return float(listed[key[name]])
    return None


def echo_train(raw: RawData, rows: NDArray[np.intp], grid: CartesianGrid, axes: Axes) -> dict[str, Any]:
    """Direction and speed of the phase encoding of an echo train.

    ``PhaseEncodingDirection`` is the image axis along which k-space is walked through, with the sign of the
    walk: positive off-resonance moves the image that way.  ``EffectiveEchoSpacing`` is the time between
    neighbouring lines of the reconstructed matrix, ``TotalReadoutTime`` that times (lines - 1) as BIDS has
    it.
    """
    order, sign = axes
    imaging = rows[~calibration_only(raw)[rows]]
    first = raw.heads["slice"][imaging] == raw.heads["slice"][imaging[0]]
    imaging = imaging[first]
    lines = line_indices(raw, np.sort(imaging), grid, 1)
    steps = np.diff(lines)
    steps = steps[steps != 0]
    if not len(steps):
        return {}
    step = float(np.median(steps))
    axis = order.index(1)
    values: dict[str, Any] = {"PhaseEncodingDirection": _AXES[axis] + ("-" if step * sign[axis] < 0 else "")}
    spacing = next((t for t in raw.header.echo_spacing if t > 0), 0.0)
    if not spacing and grid.encoding.epi is not None:
        spacing = grid.encoding.epi.echo_spacing
    if spacing:
        whole = grid.encoding.encoded.fov[1] / (grid.pixel[1] * grid.out[1])
        effective = spacing / abs(step) * whole
        values["EffectiveEchoSpacing"] = round(effective, 12)
        values["TotalReadoutTime"] = round(effective * (grid.out[1] - 1), 12)
    return values


def stack_sidecars(own: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the volumes' values: one value where all agree, else the list in the order of the volumes."""
    merged: dict[str, Any] = {}
    for name in own[0]:
        if all(name in values for values in own):
            found = [values[name] for values in own]
            merged[name] = found[0] if all(v == found[0] for v in found) else found
    return merged
