"""The cells of the harmonizers: fits, harmonized images and tables.

Where the design holds a scanner out, its images are in no fit; a method of images that cannot handle a
scanner that it was not fitted on gets none of them (one of features leaves their rows out by itself).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import bids
from .libraries import Libraries
from .plan import Cell, PlanBuilder
from .study import HarmonizerSection, Study


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """One aligned image and the cells it came from."""

    subject: str
    session: str
    run: int
    contrast: str
    aligned: Cell
    features: Cell
    phantom: Cell
    maps: Cell

    @property
    def key(self) -> dict[str, str | int]:
        """Identity of the image within its stages."""
        return {"subject": self.subject, "session": self.session, "run": self.run, "contrast": self.contrast}


@dataclass
class PlannedMethod:
    """What one harmonizer produced."""

    label: str
    kind: str
    images: list[Cell] = field(default_factory=list)
    features: list[Cell] = field(default_factory=list)


def add_features(
    builder: PlanBuilder, method: str, key: Mapping[str, str | int], image: Cell, maps: Cell
) -> Cell:
    """Add the features of one image."""
    return builder.add("features", {"method": method, **key}, {}, {"image": image, "maps": maps}, draws=False)


class HarmonizerPlanner:
    """Adds what each harmonizer of a study does to its images."""

    def __init__(self, study: Study, libraries: Libraries, builder: PlanBuilder) -> None:
        self.study = study
        self.libraries = libraries
        self.builder = builder
        self.held_out = study.cohort.design.held_out

    def add(self, section: HarmonizerSection, images: Sequence[PlannedImage]) -> PlannedMethod:
        """Add one harmonizer over all images of the study that it is meant for."""
        kind = self.libraries.harmonizer_kind(section.name)
        params = {
            "name": section.name,
            "params": self.libraries.harmonizer(section.name, section.params),
            "reference": self.study.study.reference_scanner,
        }
        method = PlannedMethod(label=section.key, kind=kind)
        for protocol in self.study.protocols:
            contrast = protocol.contrast
            if section.contrasts is not None and contrast not in section.contrasts:
                continue
            chosen = [image for image in images if image.contrast == contrast]
            if kind == "image":
                self._images(method, contrast, params, chosen)
            else:
                self._features(method, contrast, params, chosen)
        return method

    def _images(
        self,
        method: PlannedMethod,
        contrast: str,
        params: Mapping[str, Any],
        images: Sequence[PlannedImage],
    ) -> None:
        seen = [image for image in images if image.session != self.held_out]
        model = self.builder.add(
            "harmonize_fit",
            {"method": method.label, "contrast": contrast},
            params,
            {"images": [image.aligned for image in seen]},
            allow_failed_inputs=True,
        )
        everywhere = len(seen) == len(images)
        if not everywhere:
            able = self.libraries.capabilities(params["name"], params["params"])
            everywhere = bool(able["handles_unseen_site"])
        for image in images if everywhere else seen:
            self._image(method, params, model, image)

    def _image(
        self, method: PlannedMethod, params: Mapping[str, Any], model: Cell, image: PlannedImage
    ) -> None:
        name = bids.ImageName(
            subject=image.subject,
            session=image.session,
            run=image.run,
            suffix=image.contrast,
            description=method.label,
        )
        harmonized = self.builder.add(
            "harmonize",
            {"method": method.label, **image.key},
            params,
            {"model": model, "image": image.aligned},
            publish={"image.nii.gz": name.derivative_path(method.label, ".nii.gz")},
        )
        method.images.append(harmonized)
        method.features.append(add_features(self.builder, method.label, image.key, harmonized, image.maps))

    def _features(
        self,
        method: PlannedMethod,
        contrast: str,
        params: Mapping[str, Any],
        images: Sequence[PlannedImage],
    ) -> None:
        held_out = {"held_out": self.held_out} if self.held_out else {}
        cell = self.builder.add(
            "feature_harmonize",
            {"method": method.label, "contrast": contrast},
            {**params, **held_out},
            {
                "features": [image.features for image in images],
                "phantoms": list({image.phantom.id: image.phantom for image in images}.values()),
            },
            allow_failed_inputs=True,
        )
        method.features.append(cell)
