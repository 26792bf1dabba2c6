"""From a study to the plan of its attribution: which scans the coalitions of causes need, each once.

Scans, reconstructions and images are cells named by what they hold, so coalitions that look alike on one
scanner share them, and a later run with more permutations or other measures finds them done. The visits and
the noise are drawn as `mrsim run` draws them for the first scan of a subject: with all causes on, the two
images are those of the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import seeds
from .attribute_causes import (
    CAUSES,
    Side,
    State,
    acting,
    built_for,
    leftover,
    plain,
    simulated_as,
    states,
)
from .build_plan import StudyPlanner
from .canonical import sha256_json
from .libraries import Libraries
from .plan import Cell, Plan
from .records import from_record
from .stage import Stage
from .study import Study

if TYPE_CHECKING:
    from mrsim.evaluation import Game

_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class PreparedAttribution:
    """A checked attribution with its plan; nothing was written yet.

    causes : those that are told apart;  idle : those asked for that change nothing between these scanners;
    off : those that stay off because the study does not ask for them.
    """

    path: Path
    study: Study
    plan: Plan
    game: Game
    labels: tuple[str, str]
    causes: tuple[str, ...]
    idle: tuple[str, ...]
    off: tuple[str, ...]

    @property
    def scans(self) -> int:
        """Number of scans that are simulated."""
        return sum(cell.stage == "attribute_scan" for cell in self.plan)

    @property
    def images(self) -> int:
        """Number of images that are reconstructed."""
        return sum(cell.stage == "recon" for cell in self.plan)


class AttributionPlanner:
    """Adds the cells of an attribution."""

    def __init__(
        self,
        path: Path,
        study: Study,
        labels: tuple[str, str],
        libraries: Libraries,
        stages: Mapping[str, Stage],
    ) -> None:
        from mrsim.simulation.causes import switch_off

        self.path, self.study, self.labels = path, study, labels
        self.switch_off = switch_off
        self.planner = StudyPlanner(study, libraries, stages)
        self.builder = self.planner.builder
        wanted = study.attribution
        self.contrast = wanted.contrast or study.protocols[0].contrast
        self.subject = study.subjects[wanted.subject - 1]
        self.reference, self.other = (self._side(label) for label in labels)

    def prepared(self) -> PreparedAttribution:
        """Plan everything."""
        from mrsim.evaluation import plan_game

        self._check_cover()
        asked = self.study.attribution.causes or tuple(CAUSES)
        cohort = self.study.cohort
        own_tissue = cohort.tissue_spread > 0 or cohort.tissue_age_effect != 0
        causes = acting(self.reference, self.other, asked, self.switch_off, own_tissue=own_tissue)
        if not causes:
            raise ValueError(
                f"no cause acts between {self.labels[0]!r} and {self.labels[1]!r}: nothing to attribute."
            )
        rng = seeds.stream(self.study.study.seed, "attribution", {"causes": ",".join(causes)})
        game = plan_game(causes, permutations=self.study.attribution.permutations, rng=rng)
        off = tuple(name for name in CAUSES if name not in asked)
        idle = tuple(name for name in CAUSES if name in asked and name not in causes)
        self._cells(game, idle, off)
        return PreparedAttribution(
            path=self.path, study=self.study, plan=self.builder.plan(), game=game, labels=self.labels,
            causes=causes, idle=idle, off=off,
        )  # fmt: skip

    def _check_cover(self) -> None:
        rest = leftover(self.reference, self.other, self.switch_off)
        if rest:
            raise ValueError(
                f"with every cause off the two scanners must be the same; they still differ in "
                f"{', '.join(rest)}. Make these equal by [[scanners]] overrides."
            )

    def _side(self, label: str) -> Side:
        """Return a scanner with its card and its drawn visit."""
        import numpy as np

        from mrsim.simulation import SimulationOptions, draw_session
        from protocols import Protocol, Scanner

        settings = self.study.simulation
        protocol = next(p for p in self.study.protocols if p.contrast == self.contrast)
        scanner = from_record(Scanner, self.planner.scanners[label])
        visit = seeds.stream(
            self.study.study.seed, "visit", {"subject": self.subject, "session": label, "run": 1}
        )
        return Side(
            label=label,
            scanner=scanner,
            card=from_record(Protocol, self.planner.cards[label, self.contrast]),
            # The centre of the head is known only to the scan, which puts it in.
            session=draw_session(scanner, visit, pivot=np.zeros(3)),
            options=SimulationOptions(
                channels=protocol.coils if protocol.coils is not None else settings.coils,
                tolerance=settings.tolerance,
                b0=settings.b0,
                b1=settings.b1,
                noise=settings.noise,
            ),
            recon=self.study.recon.of(label),
        )

    def _cells(self, game: Game, idle: Sequence[str], off: Sequence[str]) -> None:
        """Add scans, each with all images made of it, then the cell that splits the difference."""
        phantoms = self._phantoms("tissue" in game.players)
        maps = self.planner.maps(phantoms[True])
        pairs = [(c, states(self.reference, self.other, c, self.switch_off)) for c in game.coalitions]
        by_scan: dict[str, list[State]] = {}
        for _, both in pairs:
            for state in both:
                by_scan.setdefault(sha256_json(self._scan_params(state)), []).append(state)
        images: dict[str, tuple[Cell, Cell]] = {}
        for group in by_scan.values():
            scan = self._scan(group[0], phantoms[group[0].tissue])
            for state in group:
                name = sha256_json(state.record())[:_DIGITS]
                if name not in images:
                    images[name] = self._image(name, state, scan, maps)
        listed = [
            {"causes": sorted(c), "images": [sha256_json(s.record())[:_DIGITS] for s in both]}
            for c, both in pairs
        ]
        self._result(game, listed, images, maps, idle=idle, off=off)

    def _phantoms(self, both: bool) -> dict[bool, Cell]:
        """Return the subject with tissue of its own, and, where that is a cause, with the table's."""
        number = self.study.attribution.subject
        own = self.planner.phantom(number)
        if not both:
            return {True: own, False: own}
        params = {**own.params, "tissue_spread": 0.0, "tissue_age_effect": 0.0}
        return {True: own, False: self.builder.add("phantom", own.key, params, files=own.files)}

    def _scan_params(self, state: State) -> dict[str, Any]:
        draws = {"subject": self.subject, "session": state.noise_of, "run": 1, "contrast": self.contrast}
        return {
            "scanner": plain(simulated_as(state, self.reference)),
            "card": plain(state.card),
            "session": plain(state.session),
            "options": plain(state.options),
            "draws": draws if state.noise_of else None,
            "noise": state.noise,
            "tissue": state.tissue,
        }

    def _scan(self, state: State, phantom: Cell) -> Cell:
        build = {"scanner": plain(built_for(state, self.reference)), "card": plain(state.card)}
        sequence = self.builder.add("sequence", {"state": sha256_json(build)[:_DIGITS]}, build, draws=False)
        params = self._scan_params(state)
        return self.builder.add(
            "attribute_scan",
            {"state": sha256_json(params)[:_DIGITS]},
            params,
            {"phantom": phantom, "sequence": sequence},
            transient=True,
        )

    def _image(self, name: str, state: State, scan: Cell, maps: Cell) -> tuple[Cell, Cell]:
        key: dict[str, str | int] = {"state": name, "contrast": self.contrast}
        recon = self.builder.add(
            "recon",
            key,
            {
                "options": dict(state.recon),
                "scanner": plain(state.scanner),
                "card": plain(state.card),
            },
            {"scan": scan},
            draws=False,
            transient=True,
        )
        aligned = self.builder.add(
            "align",
            key,
            {"voxel_size": self.planner.voxel_size},
            {"image": recon, "maps": maps},
            draws=False,
        )
        features = aligned
        if "features" in self.study.attribution.measures:
            features = self.builder.add("features", key, {}, {"image": aligned, "maps": maps}, draws=False)
        return aligned, features

    def _result(
        self,
        game: Game,
        pairs: Sequence[Mapping[str, Any]],
        images: Mapping[str, tuple[Cell, Cell]],
        maps: Cell,
        *,
        idle: Sequence[str],
        off: Sequence[str],
    ) -> Cell:
        wanted = self.study.attribution
        aligned = [image for image, _ in images.values()]
        inputs: dict[str, Cell | Sequence[Cell]] = {"images": aligned, "maps": maps}
        if "features" in wanted.measures:
            inputs["features"] = [features for _, features in images.values()]
        return self.builder.add(
            "attribution",
            {},
            {
                "title": self.study.title,
                "seed": self.study.study.seed,
                "subject": self.subject,
                "contrast": self.contrast,
                "labels": list(self.labels),
                "scanners": {label: self.planner.scanners[label] for label in self.labels},
                "cards": {label: self.planner.cards[label, self.contrast] for label in self.labels},
                "draws": {s.label: s.session.record() for s in (self.reference, self.other)},
                "measures": list(wanted.measures),
                "confidence": wanted.confidence,
                "players": list(game.players),
                "orders": [list(order) for order in game.orders],
                "pairs": list(pairs),
                "idle": list(idle),
                "off": list(off),
                "voxel_size": self.planner.voxel_size,
            },
            inputs,
            draws=False,
            publish={name: name for name in RESULTS},
        )


RESULTS = ("attribution.tsv", "attribution.json", "report.html")
