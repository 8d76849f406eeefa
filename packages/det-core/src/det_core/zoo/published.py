"""The published models: where their weights are, and the figures that their publishers report.

The facts are in published.json, one model a line. det has verified none of these figures by itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType

from det_core.plugins import registry

__all__ = ["PublishedModel", "aliases", "models", "of_recipe"]


@dataclass(frozen=True)
class PublishedModel:
    """One published configuration.

    Attributes:
        name: published name, such as "COCO-Detection/faster_rcnn_R_50_FPN_3x".
        task: "detection", "instances", "keypoints", "proposals", "semantic", "panoptic" or "densepose".
        data: the published name of the dataset that it is evaluated on.
        weights: the address of the weights of the whole model; None where none were published.
        reported: reported figures, under the publisher's labels.
        licenses: licenses of its "weights" (SPDX) and of the "annotations" it is trained on, as far as stated.
    """

    name: str
    task: str
    data: str
    weights: str | None = None
    reported: Mapping[str, float | str] = field(default_factory=dict)
    licenses: Mapping[str, str] = field(default_factory=dict)


@cache
def models() -> Mapping[str, PublishedModel]:
    """All published models, by name."""
    text = resources.files("det_core.zoo").joinpath("published.json").read_text(encoding="utf-8")
    return MappingProxyType({name: PublishedModel(name, **facts) for name, facts in json.loads(text).items()})


def of_recipe(name: str) -> PublishedModel | None:
    """The published model that a recipe builds, by any name of the recipe; None if it is none's, or not installed."""
    for component in registry.matches(registry.components("recipes"), name):
        names = (each.name for each in aliases(component))
        return next((models()[each] for each in names if each in models()), None)
    return None


def aliases(component: registry.Component) -> list[registry.Component]:
    """All names of a recipe, each with its package."""
    file = (component.distribution, component.target)
    return [each for each in registry.components("recipes") if (each.distribution, each.target) == file]
