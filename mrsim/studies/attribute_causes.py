"""Two scanners with some of their causes of difference switched off: what is then simulated on each.

A cause that is off is the same on both sides. Imperfections become nominal on both (`switch_off` of the
simulation); what no scanner can be without (a field, an array, a protocol, a reconstruction) becomes that of
the reference scanner. All draws are made once, before anything is switched off, so two coalitions never
differ by luck.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrsim.simulation import Session, SimulationOptions
    from protocols import Protocol, Provenance, Scanner

    SwitchOff = Callable[..., tuple[Scanner, Session, SimulationOptions]]

CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "field": "the field strength",
        "tissue": "the subject's own tissue values",
        "susceptibility": "off-resonance from susceptibility",
        "shim": "the shim (order and error)",
        "frequency": "the error of the centre frequency",
        "transmit_pattern": "the pattern of the transmit field",
        "transmit_calibration": "the transmit calibration",
        "receive_profile": "the receive array",
        "noise": "thermal noise",
        "gradient_scale": "the gradient calibration",
        "gradient_nonlinearity": "gradient nonlinearity and its correction",
        "concomitant": "concomitant fields",
        "gradient_response": "the response of the gradients (delays, eddy currents)",
        "frequency_drift": "frequency drift",
        "gain": "the receiver gain and its drift",
        "spikes": "spikes",
        "rf_spoiling": "the RF-spoiling increment",
        "slice_profile": "slice and slab profiles",
        "chemical_shift": "the chemical shift of fat",
        "motion": "movement within the scan",
        "repositioning": "repositioning of the head",
        "protocol": "the protocol (card and gradient limits)",
        "reconstruction": "the reconstruction",
    }
)
"""Every cause by name, in words. The names are those of the simulation."""

_OWN: Mapping[str, tuple[str, ...]] = {
    "field": ("field.f0",),
    "susceptibility": ("field.susceptibility",),
    "shim": ("field.shim_order",),
    "transmit_pattern": ("transmit.dome", "transmit.pattern", "transmit.loss_tangent"),
    "receive_profile": ("receive",),
    "noise": ("noise",),
    "gradient_scale": ("gradients.scale_error",),
    "gradient_nonlinearity": ("gradients.coil", "gradients.coil_error"),
    "concomitant": ("gradients.concomitant",),
    "gradient_response": ("response",),
    "rf_spoiling": ("transmit.rf_spoil_increment_deg",),
    "protocol": tuple(
        f"gradients.{name}"
        for name in (
            "max_amplitude", "max_slew", "design_amplitude", "design_slew", "raster", "rf_raster",
            "adc_raster", "block_raster", "rf_dead_time", "rf_ringdown", "adc_dead_time",
        )
    ),
    "reconstruction": ("recon",),
}  # fmt: skip
"""Values of a scanner record that belong to a cause: those of the reference where it is off."""
EXCHANGED = frozenset({"field", "receive_profile", "rf_spoiling", "protocol", "reconstruction"})
"""Causes without a nominal state: off means as on the reference scanner."""
_DRAWN = (
    "field.shim_residual", "field.drift_sd", "transmit.calibration_bias", "transmit.calibration_sd",
    "session", "stability",
)  # fmt: skip
"""Spreads that only draws use; the draws are made before."""
_NAMES = ("name", "vendor", "manufacturer", "model", "software", "station", "institution", "notes")
_GROUPS = (
    "field", "gradients", "receive", "noise", "transmit", "session", "recon", "response", "stability",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Side:
    """One scanner as the study has it: record, card, drawn visit, options of engine and reconstruction."""

    label: str
    scanner: Scanner
    card: Protocol
    session: Session
    options: SimulationOptions
    recon: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class State:
    """What is simulated and reconstructed on one side.

    ``noise`` tells whether images are noisy; ``noise_of`` is the label whose stream of noise is drawn, empty
    for a study without noise. ``tissue`` tells whether the subject has tissue of its own.
    """

    scanner: Scanner
    card: Protocol
    session: Session
    options: SimulationOptions
    recon: Mapping[str, str]
    noise: bool
    noise_of: str
    tissue: bool

    def record(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def states(
    reference: Side, other: Side, active: frozenset[str], switch_off: SwitchOff
) -> tuple[State, State]:
    """Return both sides with only the causes in ``active`` switched on.

    Parameters
    ----------
    reference, other : Side
        The two scanners.
    active : frozenset of str
        Names in `CAUSES`.
    switch_off : callable
        ``switch_off(names, scanner=..., session=..., options=...)`` gives the three without imperfections.
    """
    return _state(reference, reference, active, switch_off), _state(other, reference, active, switch_off)


def _state(own: Side, reference: Side, active: frozenset[str], switch_off: SwitchOff) -> State:
    off = [name for name in CAUSES if name not in active]
    taken = [path for name in off for path in _OWN.get(name, ())]
    scanner = _with(own.scanner, reference.scanner, taken)
    imperfections = [name for name in off if name not in EXCHANGED]
    scanner, session, options = switch_off(
        imperfections, scanner=scanner, session=own.session, options=own.options
    )
    return State(
        scanner=_with(scanner, reference.scanner, [*_NAMES, *_DRAWN]),
        card=own.card if "protocol" in active else reference.card,
        session=_without_unused_draws(session),
        # Without noise there still is a noise scan: coils are weighted as before (`noise_scan`).
        options=dataclasses.replace(options, noise=own.options.noise),
        recon=own.recon if "reconstruction" in active else reference.recon,
        noise=options.noise,
        noise_of=(own if options.noise else reference).label if own.options.noise else "",
        tissue="tissue" in active,
    )


def _without_unused_draws(session: Session) -> Session:
    """Return the visit without what nothing reads: two visits that act alike are equal then.

    The point that movements turn about is put in by the scan, which knows the head.
    """
    from mrsim.simulation import Session

    nominal = Session()
    spiking = session.spike_rate > 0.0
    drawing = spiking or session.motion != nominal.motion
    return dataclasses.replace(
        session,
        pivot=nominal.pivot,
        spike_amplitude=session.spike_amplitude if spiking else nominal.spike_amplitude,
        entropy=session.entropy if drawing else nominal.entropy,
    )


def _with(scanner: Scanner, reference: Scanner, paths: Sequence[str]) -> Scanner:
    """Return a record with the values at some paths (``group`` or ``group.value``) of another."""
    changes: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for path in paths:
        group, _, name = path.partition(".")
        if name:
            parts.setdefault(group, {})[name] = getattr(getattr(reference, group), name)
        else:
            changes[group] = getattr(reference, group)
    # All values of a group at once: a record checks them against each other.
    for group, values in parts.items():
        changes.setdefault(group, dataclasses.replace(getattr(scanner, group), **values))
    return scanner.replace(provenance=_sources(), **changes)


def _sources() -> dict[str, Provenance]:
    """Return provenance of a record made of two."""
    from protocols import Provenance

    return {group: Provenance(source="of the two scanners' records", verified=False) for group in _GROUPS}


def simulated_as(state: State, reference: Side) -> Scanner:
    """Return the record that a scan depends on: reconstructions may differ and share the scan."""
    return _with(state.scanner, reference.scanner, _OWN["reconstruction"])


def built_for(state: State, reference: Side) -> Scanner:
    """Return the record that a sequence is built for: gradient limits, field and RF spoiling of the state."""
    paths = [path for name in ("protocol", "field", "rf_spoiling") for path in _OWN[name]]
    return _with(reference.scanner, state.scanner, paths)


def acting(
    reference: Side,
    other: Side,
    names: Sequence[str],
    switch_off: SwitchOff,
    *,
    own_tissue: bool = True,
) -> tuple[str, ...]:
    """Return the causes among ``names`` that change what is simulated, on either side, alone or with all.

    The others are null players: their share is 0 by definition, and leaving them out saves scans.
    ``own_tissue`` tells whether the subject's tissue differs from the table's.
    """
    everything = frozenset(names)
    none = [s.record() for s in states(reference, other, frozenset(), switch_off)]
    full = [s.record() for s in states(reference, other, everything, switch_off)]

    def acts(name: str) -> bool:
        alone = [s.record() for s in states(reference, other, frozenset([name]), switch_off)]
        without = [s.record() for s in states(reference, other, everything - {name}, switch_off)]
        return (alone != none or without != full) and (name != "tissue" or own_tissue)

    return tuple(name for name in CAUSES if name in everything and acts(name))


def leftover(reference: Side, other: Side, switch_off: SwitchOff) -> list[str]:
    """Return the paths at which the two sides differ with every cause off: none, or a cause is missing."""
    first, second = (s.record() for s in states(reference, other, frozenset(), switch_off))
    return sorted(_differences(first, second))


def _differences(a: Any, b: Any, path: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from _differences(a.get(key), b.get(key), f"{path}.{key}" if path else str(key))
    elif a != b:
        yield path


def plain(value: Any) -> Any:
    """Return a record of records and arrays as JSON data (`records.from_record` is the way back)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a state must be plain data; got {type(value).__name__}")
