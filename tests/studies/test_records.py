"""Records travel through a plan as JSON and come back as what they were."""

import dataclasses
import json
from dataclasses import dataclass, field

import pytest

from mrsim.studies.installed import InstalledLibraries, scanner_with
from mrsim.studies.records import from_record
from protocols import Protocol, Scanner, list_protocols, list_scanners, load_protocol, load_scanner


def through_json(record):
    return json.loads(json.dumps(dataclasses.asdict(record), allow_nan=False))


@pytest.mark.parametrize("name", list_scanners())
def test_every_scanner_comes_back(name):
    scanner = load_scanner(name)
    assert from_record(Scanner, through_json(scanner)) == scanner
    assert from_record(Scanner, InstalledLibraries().scanner(name, {})) == scanner


@pytest.mark.parametrize("name", list_protocols())
def test_every_card_comes_back(name):
    card = load_protocol(name)
    assert from_record(Protocol, through_json(card)) == card
    coarse = card.at_resolution(4e-3)
    assert coarse != card
    back = from_record(Protocol, InstalledLibraries().card(name, 4e-3))
    assert back == coarse
    assert hash(back.geometry) == hash(coarse.geometry)  # tuples again, not lists


def test_overrides_survive():
    changes = {"noise": {"relative_figure": 1.7}, "software": "x"}
    record = InstalledLibraries().scanner("siemens-prisma-3t", changes)
    back = from_record(Scanner, json.loads(json.dumps(record)))
    assert back == scanner_with(load_scanner("siemens-prisma-3t"), changes)
    assert (back.noise.relative_figure, back.software) == (1.7, "x")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("field", "f0"), 123.2, "Give hertz, not MHz"),
        (("field", "f00"), 1.0, r"Field record must not have \['f00'\]"),
        (("colour",), "red", r"Scanner record must not have \['colour'\]"),
    ],
)
def test_what_is_no_record_is_refused(path, value, words):
    record = through_json(load_scanner("siemens-prisma-3t"))
    group = record
    for key in path[:-1]:
        group = group[key]
    group[path[-1]] = value
    with pytest.raises(ValueError, match=words):
        from_record(Scanner, record)


def test_missing_values_are_told():
    record = through_json(load_scanner("siemens-prisma-3t"))
    del record["field"]["f0"]
    with pytest.raises(TypeError, match="f0"):
        from_record(Scanner, record)


@dataclass(frozen=True, kw_only=True)
class Inner:
    points: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    inners: tuple[Inner, ...]
    named: dict[str, Inner]
    perhaps: Inner | None = None
    either: float | str = 0.0
    pairs: tuple[tuple[float, float], ...] = ()
    derived: int = field(init=False, default=3)


def test_nesting():
    outer = Outer(
        inners=(Inner(points=(1.0, 2.0)), Inner()), named={"a": Inner(points=(3.0,))}, perhaps=Inner(),
        either="x", pairs=((1.0, 2.0),),
    )  # fmt: skip
    data = through_json(outer)
    del data["derived"]
    assert from_record(Outer, data) == outer
    assert from_record(Outer, data | {"perhaps": None, "either": 2.0}).perhaps is None
