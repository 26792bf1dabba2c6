"""Rules between the groups of a card: what a family does not play is refused, not passed over."""

from __future__ import annotations

import math

from .contrasts import Echoes, RefocusingDesign
from .settings import Acceleration, Geometry, Rf, Selection, Timing

Rules = list[tuple[bool, str]]

_TRAINS = ("mprage", "mp2rage")
_SPIN_ECHOES = ("tse", "se")
_CONTRASTS = ("gre", "bssfp", "se")
_SHUTTERED = ("gre", "bssfp", "tse", "se")
_ORDERS = {"tse": ("centric",)}
_AXES = {1: "phase lines", 2: "partitions"}


def selection_rules(geometry: Geometry, selection: Selection) -> Rules:
    """2D slices have one partition, as thick as a slice."""
    partitions, sliced = geometry.matrix[2], selection.mode == "slices"
    return [
        (
            sliced == (partitions == 1),
            f"geometry.matrix must have one partition where selection.mode is 'slices', and only there; "
            f"got {partitions} for {selection.mode!r}",
        ),
        (
            not sliced or math.isclose(geometry.fov[2], selection.thickness),
            f"geometry.fov[2] must be selection.thickness for slices; got {geometry.fov[2]} "
            f"and {selection.thickness}",
        ),
    ]


def timing_rules(kind: str, timing: Timing, rf: Rf, geometry: Geometry) -> Rules:
    """Inversion times, trains and view orders that a family needs or knows."""
    t, inverts = timing, kind in _TRAINS
    axis = 2 if t.inner_loop == "partition" else 1
    inner = geometry.matrix[axis]
    return [
        (
            not inverts or (t.ti is not None and rf.inversion != "none"),
            f"timing.ti and rf.inversion must be given for {kind!r}",
        ),
        (
            kind != "mp2rage" or (t.ti2 is not None and t.ti2 > (t.ti or 0.0)),
            f"timing.ti2 must be given and exceed timing.ti for 'mp2rage'; got {t.ti2}",
        ),
        (
            kind == "mp2rage" or t.ti2 is None or (kind in _SPIN_ECHOES and t.ti2 < (t.ti or 0.0)),
            f"timing.ti2 must be absent, or shorter than timing.ti in a double inversion of a spin echo; "
            f"got {t.ti2} and {t.ti} for {kind!r}",
        ),
        (
            t.ti is None or rf.inversion != "none",
            "rf.inversion must be 'ideal' or 'hypsec' where timing.ti is given",
        ),
        (
            not inverts or t.turbo_factor <= inner,
            f"timing.turbo_factor must not exceed the {_AXES[axis]} ({inner}) of an MPRAGE; "
            f"got {t.turbo_factor}",
        ),
        (
            kind not in ("gre", "bssfp") or (t.turbo_factor == 1 and t.ti is None),
            f"timing.turbo_factor must be 1 and timing.ti absent for {kind!r}",
        ),
        (
            kind != "se" or t.turbo_factor == 1,
            f"timing.turbo_factor must be 1 for 'se'; got {t.turbo_factor}. Take 'tse'.",
        ),
        (
            inverts or (t.inner_loop == "partition" and t.view_order in ("linear", *_ORDERS.get(kind, ()))),
            f"timing.view_order and inner_loop must be 'linear' and 'partition' unless sequence is "
            f"'mprage' or 'mp2rage' ('tse': also 'centric'); got {t.view_order!r} and {t.inner_loop!r} "
            f"for {kind!r}",
        ),
        (
            kind == "mp2rage" or rf.flip2_deg is None,
            f"rf.flip2_deg must be absent unless sequence is 'mp2rage'; got {rf.flip2_deg} for {kind!r}",
        ),
    ]


def family_rules(
    kind: str,
    acceleration: Acceleration,
    selection: Selection,
    echoes: Echoes,
    refocusing: RefocusingDesign,
) -> Rules:
    """Refuse groups that only other families play."""
    sliced = selection.mode == "slices"
    return [
        (
            kind not in _TRAINS or not sliced,
            f"selection.mode must be 'none' or 'slab' for {kind!r}; got 'slices'",
        ),
        (
            not acceleration.elliptical or (kind in _SHUTTERED and not sliced),
            f"acceleration.elliptical must be false unless sequence is a volume by one of "
            f"{', '.join(_SHUTTERED)}; got true for {kind!r}",
        ),
        (
            echoes.count == 1 or kind in _CONTRASTS,
            f"echoes.count must be 1 unless sequence is one of {', '.join(_CONTRASTS)}; "
            f"got {echoes.count} for {kind!r}",
        ),
        (
            kind != "se" or echoes.polarity == "monopolar",
            "echoes.polarity must be 'monopolar' for 'se': spin echoes are read in one direction",
        ),
        (
            refocusing.scheme == "points" or kind in _SPIN_ECHOES,
            f"refocusing.scheme must be 'points' unless sequence is 'tse' or 'se'; "
            f"got {refocusing.scheme!r} for {kind!r}",
        ),
    ]
