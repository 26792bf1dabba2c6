"""Movement by hand in the exact engine, which else draws it from the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mrsim.simulation.bloch import scan
from mrsim.simulation.motion import HeadMotion
from mrsim.simulation.scan_events import ScanEvents


@contextmanager
def body(motion: HeadMotion | None) -> Iterator[None]:
    """Every scan of the exact engine inside moves so."""
    drawn = scan.events_of
    if motion is not None:
        scan.events_of = lambda sequence, session: ScanEvents(motion=motion, spikes=())  # type: ignore[assignment]
    try:
        yield
    finally:
        scan.events_of = drawn
