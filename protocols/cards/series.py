"""Quantitative series: one card per flip angle or inversion time, as BIDS stores them."""

from __future__ import annotations

import dataclasses

from .contrasts import Series
from .protocol import Protocol
from .settings import Rf, Timing


def series_cards(protocol: Protocol) -> tuple[Protocol, ...]:
    """Cards of a quantitative series.

    Parameters
    ----------
    protocol : Protocol
        Card whose group `series` lists flip angles or inversion times.

    Returns
    -------
    tuple of Protocol
        One card per value, in the order of the list, named '<name>-flip1', ... (variable flip angle) or
        '<name>-inv1', ... (inversion recovery), after the BIDS entities flip and inv. A card without a
        series gives itself.
    """
    series = protocol.series
    if series.flip_deg:
        pulses = [dataclasses.replace(protocol.rf, flip_deg=flip) for flip in series.flip_deg]
        return tuple(_member(protocol, f"flip{n}", rf=rf) for n, rf in enumerate(pulses, 1))
    if series.ti:
        times = [dataclasses.replace(protocol.timing, ti=ti) for ti in series.ti]
        return tuple(_member(protocol, f"inv{n}", timing=timing) for n, timing in enumerate(times, 1))
    return (protocol,)


def _member(protocol: Protocol, label: str, rf: Rf | None = None, timing: Timing | None = None) -> Protocol:
    return dataclasses.replace(
        protocol,
        name=f"{protocol.name}-{label}",
        rf=rf or protocol.rf,
        timing=timing or protocol.timing,
        series=Series(),
        derived_from=protocol.derived_from or protocol.name,
    )
