"""The published models: where their weights are, and the figures that their publishers report.

The facts are in published.json, one model a line. det has verified none of these figures by itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType

from det_core.errors import UnknownNameError, WeightsError
from det_core.plugins import known, registry

__all__ = ["TASKS", "PublishedModel", "find", "models", "of_recipe"]

TASKS = ("detection", "instances", "keypoints", "proposals", "semantic", "panoptic", "densepose")

# What publishers call a figure, by what it is; the first that a model has counts.
_FIGURES: Mapping[str, tuple[str, ...]] = {
    "box_ap": ("box AP", "Box AP"),
    "mask_ap": ("mask AP", "Mask AP", "segm AP"),
    "keypoint_ap": ("kp. AP",),
    "seconds": ("inference time (s/im)",),
    "gigabytes": ("train mem (GB)",),
}


@dataclass(frozen=True)
class PublishedModel:
    """One published configuration.

    Attributes:
        name: as published, such as "COCO-Detection/faster_rcnn_R_50_FPN_3x".
        task: one of `TASKS`.
        data: the published name of the dataset that it is judged on.
        weights: the address of the weights of the whole model; None where none were published.
        reported: what is reported of it, under the publisher's own labels.
        licenses: of its "weights" and of the "annotations" it is trained on, where their publisher limits their use.
    """

    name: str
    task: str
    data: str
    weights: str | None = None
    reported: Mapping[str, float | str] = field(default_factory=dict)
    licenses: Mapping[str, str] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, float]:
        """What is reported of "box_ap", "mask_ap", "keypoint_ap", "seconds" and "gigabytes".

        Average precisions are percents, the seconds those of inference per image, the gigabytes those of training.
        """
        every = {key: [label for label in labels if label in self.reported] for key, labels in _FIGURES.items()}
        return {key: float(self.reported[labels[0]]) for key, labels in every.items() if labels}

    @property
    def package(self) -> str:
        """The distribution that brings its recipe; "" where none does yet."""
        return known.provider(self.name) or ("" if self.name.startswith("d2go/") else "det-core")

    def recipe(self) -> str:
        """The short name of its installed recipe, or ""."""
        for component in registry.components("recipes"):
            if component.name == self.name:
                same = [each.name for each in _same(component)]
                return min(same, key=lambda name: ("/" in name, name))
        return ""

    def source(self) -> str:
        """Where its weights are.

        Raises:
            WeightsError: none were published.
        """
        if self.weights is None:
            raise WeightsError(self.name, "has no published weights", fix="give a file of your own as the weights")
        return self.weights


@cache
def models() -> Mapping[str, PublishedModel]:
    """All published models, by name."""
    text = resources.files("det_core.zoo").joinpath("published.json").read_text(encoding="utf-8")
    return MappingProxyType({name: PublishedModel(name, **facts) for name, facts in json.loads(text).items()})


def find(name: str) -> PublishedModel:
    """The model of a published name, or of the name of its recipe.

    Raises:
        UnknownNameError: there is none.
    """
    known_models = models()
    published = name.removesuffix(".yaml").removesuffix(".py")
    if published in known_models:
        return known_models[published]
    if model := of_recipe(name):
        return model
    shorts = [each.name for each in registry.components("recipes") if "/" not in each.name]
    if name in shorts:
        raise UnknownNameError(f"model {name!r}", "is a recipe of no published model", fix="`det zoo list` lists them")
    near = registry.did_you_mean(name, [*known_models, *shorts])
    raise UnknownNameError(f"model {name!r}", "is not published", fix=near or "`det zoo list` lists those that are")


def of_recipe(name: str) -> PublishedModel | None:
    """The published model that a recipe builds, by any name of the recipe; None if it is none's, or not installed."""
    for component in registry.matches(registry.components("recipes"), name):
        names = (each.name for each in _same(component))
        return next((models()[each] for each in names if each in models()), None)
    return None


def _same(component: registry.Component) -> list[registry.Component]:
    """Everything that means the same recipe."""
    file = (component.distribution, component.target)
    return [each for each in registry.components("recipes") if (each.distribution, each.target) == file]
