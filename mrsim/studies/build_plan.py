"""From a study to its plan: which cells there are, what each needs, and where its files appear.

Cells come subject by subject, image by image, so that a run finishes one chain before it begins the next and
raw data need not pile up. What a cell's parameters hold is only what may change its output: nothing about
the size of the study, so that a larger study reuses everything of a smaller one.

Beside the scans of the study every subject has one counterfactual per contrast (session ``truth``): the card
of the reference scanner on that scanner, without noise, calibration error or repositioning.

===================  ==========================================  =============================================
stage                key                                         inputs
===================  ==========================================  =============================================
phantom              subject
sequence             scanner, contrast
scan                 subject, session, run, contrast             phantom, sequence
recon                same                                        scan
maps                 subject                                     phantom
align                same as recon                               image (recon), maps
features             method, subject, session, run, contrast     image (align or harmonize), maps
harmonize_fit        method, contrast                            images (all aligned of the contrast)
harmonize            method, subject, session, run, contrast     model (harmonize_fit), image (align)
feature_harmonize    method, contrast                            features (of the raw images), phantoms
evaluate             method                                      images, features, raw, raw_features, truth,
                                                                 truth_features, maps, phantoms
dataset                                                          phantoms
report                                                           evaluations, example images, maps, dataset
===================  ==========================================  =============================================
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import bids
from .bids_tables import SESSION_KEYS
from .canonical import sha256_file
from .cohort import known_columns, planted
from .harmonizer_plan import HarmonizerPlanner, PlannedImage, PlannedMethod, add_features
from .libraries import Libraries, is_path
from .plan import Cell, InputFile, Plan, PlanBuilder
from .sidecar import field_strength
from .stage import Stage
from .study import ProtocolSection, ScannerSection, Study

RAW = "raw"
TRUTH = "truth"


def plan_study(study: Study, libraries: Libraries, stages: Mapping[str, Stage]) -> Plan:
    """Return the plan of a study.

    Parameters
    ----------
    study : Study
        Checked study (see `study_input.load_study`).
    libraries : Libraries
        Gives the records of scanners, cards and harmonizers.
    stages : mapping
        Name -> stage; the version of each is part of the cells' identity.

    Returns
    -------
    Plan
        All cells, each after its inputs.
    """
    return StudyPlanner(study, libraries, stages).plan()


class StudyPlanner:
    """Adds the cells of a study, one kind after the other."""

    def __init__(self, study: Study, libraries: Libraries, stages: Mapping[str, Stage]) -> None:
        self.study = study
        self.libraries = libraries
        self.builder = PlanBuilder(stages, study.study.seed)
        self.planted = planted(study.cohort, study.labels)
        self.scanners = {
            scanner.label: libraries.scanner(scanner.name, scanner.overrides) for scanner in study.scanners
        }
        self.cards = {
            (scanner.label, protocol.contrast): self._card(scanner, protocol)
            for scanner in study.scanners
            for protocol in study.protocols
        }

    def plan(self) -> Plan:
        """Add everything and return the plan."""
        numbers = range(1, self.study.cohort.subjects + 1)
        phantoms = [self.phantom(number) for number in numbers]
        maps = [self.maps(phantom) for phantom in phantoms]
        images: list[PlannedImage] = []
        truth: list[PlannedImage] = []
        for number, phantom, known in zip(numbers, phantoms, maps, strict=True):
            images += self._images(number, phantom, known)
            truth += self._counterfactuals(phantom, known)
        raw = PlannedMethod(
            label=RAW,
            kind="image",
            images=[image.aligned for image in images],
            features=[image.features for image in images],
        )
        harmonizers = HarmonizerPlanner(self.study, self.libraries, self.builder)
        methods = [raw, *(harmonizers.add(section, images) for section in self.study.harmonizers)]
        common = {
            "raw": raw.images,
            "raw_features": raw.features,
            "truth": [image.aligned for image in truth],
            "truth_features": [image.features for image in truth],
            "maps": maps,
            "phantoms": phantoms,
        }
        evaluations = [self._evaluation(method, common) for method in methods]
        dataset = self._dataset(phantoms)
        self._report(methods, truth, evaluations, dataset, phantoms, maps)
        return self.builder.plan()

    @property
    def voxel_size(self) -> float:
        """Grid of the analysis [m]: that of the finest images."""
        return 1e-3 * min(protocol.voxel_size_mm or 1.0 for protocol in self.study.protocols)

    def maps(self, phantom: Cell) -> Cell:
        """Add what a real study would know of a subject, on the analysis grid."""
        return self.builder.add(
            "maps",
            {"subject": phantom.key["subject"]},
            {"voxel_size": self.voxel_size},
            {"phantom": phantom},
            draws=False,
        )

    def _card(self, scanner: ScannerSection, protocol: ProtocolSection) -> dict[str, Any]:
        name = protocol.cards.get(scanner.label)
        if name is None:
            own = self.libraries.native_cards(scanner.name, protocol.contrast)
            if len(own) != 1:
                raise ValueError(
                    f"scanner {scanner.label!r} must have one {protocol.contrast} card; got {list(own)}. "
                    "Name one in the study's protocols.cards."
                )
            name = own[0]
        voxel_size = None if protocol.voxel_size_mm is None else protocol.voxel_size_mm * 1e-3
        return self.libraries.card(name, voxel_size)

    def phantom(self, number: int) -> Cell:
        """Add a subject, by number from 1."""
        cohort = self.study.cohort
        subject = self.study.subjects[number - 1]
        files: dict[str, InputFile] = {}
        anatomy = cohort.anatomy
        if is_path(anatomy) and Path(anatomy).is_file():
            files["anatomy"] = InputFile(path=str(Path(anatomy).resolve()), sha256=sha256_file(Path(anatomy)))
            anatomy = "file"
        return self.builder.add(
            "phantom",
            {"subject": subject},
            {
                "anatomy": anatomy,
                "subject_number": number,
                "voxel_size": cohort.voxel_size_mm * 1e-3,
                **cohort.record(self.study.labels),
            },
            files=files,
            publish={"truth.json": bids.truth_path(subject)},
        )

    def _images(self, number: int, phantom: Cell, maps: Cell) -> list[PlannedImage]:
        return [
            self._image(phantom, maps, scanner, scanner.label, run, protocol)
            for scanner in self.study.scanners_of(number)
            for run in range(1, scanner.repeats + 1)
            for protocol in self.study.protocols
        ]

    def _counterfactuals(self, phantom: Cell, maps: Cell) -> list[PlannedImage]:
        """Return the subject under the reference scanner as it would be without anything random."""
        reference = self.study.study.reference_scanner
        scanner = next(s for s in self.study.scanners if s.label == reference)
        return [self._image(phantom, maps, scanner, TRUTH, 1, protocol) for protocol in self.study.protocols]

    def _image(
        self,
        phantom: Cell,
        maps: Cell,
        scanner: ScannerSection,
        session: str,
        run: int,
        protocol: ProtocolSection,
    ) -> PlannedImage:
        subject, contrast = str(phantom.key["subject"]), protocol.contrast
        key: dict[str, str | int] = {
            "subject": subject,
            "session": session,
            "run": run,
            "contrast": contrast,
        }
        name = bids.ImageName(subject=subject, session=session, run=run, suffix=contrast)
        scanner_record, card = self.scanners[scanner.label], self.cards[scanner.label, contrast]
        counterfactual = session == TRUTH
        recon = self.builder.add(
            "recon",
            key,
            {
                "options": self.study.recon.of(scanner.label),
                "scanner": scanner_record,
                "card": card,
                "session": scanner.label,
            },
            {"scan": self._scan(phantom, scanner, protocol, key, name)},
            draws=False,
            publish={}
            if counterfactual
            else {"image.nii.gz": name.path(".nii.gz"), "image.json": name.path(".json")},
        )
        aligned = self.builder.add(
            "align",
            key,
            {"voxel_size": self.voxel_size},
            {"image": recon, "maps": maps},
            draws=False,
            publish={"image.nii.gz": bids.counterfactual_path(subject, contrast)} if counterfactual else {},
        )
        features = add_features(self.builder, TRUTH if counterfactual else RAW, key, aligned, maps)
        return PlannedImage(
            subject=subject,
            session=session,
            run=run,
            contrast=contrast,
            aligned=aligned,
            features=features,
            phantom=phantom,
            maps=maps,
        )

    def _scan(
        self,
        phantom: Cell,
        scanner: ScannerSection,
        protocol: ProtocolSection,
        key: Mapping[str, str | int],
        name: bids.ImageName,
    ) -> Cell:
        settings = self.study.simulation
        record, card = self.scanners[scanner.label], self.cards[scanner.label, protocol.contrast]
        sequence = self.builder.add(
            "sequence",
            {"scanner": scanner.label, "contrast": protocol.contrast},
            {"scanner": record, "card": card},
            draws=False,
        )
        options = settings.model_dump(mode="json", exclude={"keep_raw"})
        options["coils"] = protocol.coils if protocol.coils is not None else settings.coils
        keep = settings.keep_raw and key["session"] != TRUTH
        return self.builder.add(
            "scan",
            key,
            {"scanner": record, "card": card, "options": options},
            {"phantom": phantom, "sequence": sequence},
            transient=not keep,
            publish={"raw.h5": name.source_path(".h5")} if keep else {},
        )

    def _evaluation(self, method: PlannedMethod, common: Mapping[str, Sequence[Cell]]) -> Cell:
        return self.builder.add(
            "evaluate",
            {"method": method.label},
            {
                "kind": method.kind,
                "reference": self.study.study.reference_scanner,
                "scanners": self.scanners,
                "settings": self.study.evaluation.model_dump(mode="json"),
                "design": self.study.cohort.design.model_dump(mode="json"),
                "planted": self.planted["regions"],
            },
            {"images": method.images, "features": method.features, **common},
            allow_failed_inputs=True,
        )

    def _dataset(self, phantoms: Sequence[Cell]) -> Cell:
        """Add the cell that writes the tables and descriptions of the dataset."""
        study = self.study
        methods = [
            section.key
            for section in study.harmonizers
            if self.libraries.harmonizer_kind(section.name) == "image"
        ]
        contrasts = [protocol.contrast for protocol in study.protocols]
        sessions = {
            label: {key: record[key] for key in SESSION_KEYS if key in record}
            | {"field_strength": field_strength(record)}
            for label, record in self.scanners.items()
        }
        return self.builder.add(
            "dataset",
            {},
            {
                "name": study.study.name,
                "title": study.title,
                "description": study.study.description,
                "authors": list(study.study.authors),
                "sessions": sessions,
                "methods": methods,
                "subjects": list(study.subjects),
                "contrasts": contrasts,
                "sites": study.sites(),
                "known": known_columns(study.cohort),
                "planted": self.planted,
            },
            {"phantoms": phantoms},
            draws=False,
            allow_failed_inputs=True,
            publish={name: name for name in bids.dataset_files(study.subjects, methods, contrasts)},
        )

    def _report(
        self,
        methods: Sequence[PlannedMethod],
        truth: Sequence[PlannedImage],
        evaluations: Sequence[Cell],
        dataset: Cell,
        phantoms: Sequence[Cell],
        maps: Sequence[Cell],
    ) -> Cell:
        example = self.study.subjects[self.study.report.example_subject - 1]
        shown = [cell for method in methods for cell in method.images if cell.key["subject"] == example]
        shown += [image.aligned for image in truth if image.subject == example]
        so_far = self.builder.plan()
        return self.builder.add(
            "report",
            {},
            {
                "title": self.study.title,
                "example_subject": example,
                "study": self.study.model_dump(mode="json", exclude={"attribution"}),
                "scanners": self.scanners,
                "cards": {f"{label}/{contrast}": card for (label, contrast), card in self.cards.items()},
                "recipe": {"plan": so_far.digest, "cells": len(so_far) + 1, "seed": self.study.study.seed},
            },
            {
                "evaluations": evaluations,
                "images": shown,
                "maps": [cell for cell in maps if cell.key["subject"] == example],
                "phantoms": phantoms,
                "dataset": [dataset],
            },
            draws=False,
            allow_failed_inputs=True,
            publish={"report.html": "report.html", "scores.tsv": "scores.tsv"},
        )
