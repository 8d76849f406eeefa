"""Licences of the packages, weights and data of a recipe, as far as their publishers state them.

What is listed here is a pointer to the terms, no legal advice; terms change, and those of the publisher count.
"""

import json
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from det_core.errors import DetError
from det_core.recipes import Recipe
from det_core.zoo import published
from packaging.requirements import InvalidRequirement, Requirement

__all__ = ["License", "data_license", "licenses_of", "package_license", "weights_license"]

_UNKNOWN = "not known; ask who publishes it"
_APACHE = "none stated for the weights; the repository is Apache-2.0"
# Beginning of an address -> licence of its files; those of published models are in `det_core.zoo.published`.
_WEIGHTS: Mapping[str, str] = {
    r"https://dl\.fbaipublicfiles\.com/detectron2/ImageNetPretrained/": "CC-BY-SA-3.0 (detectron2, MODEL_ZOO.md)",
    r"https://dl\.fbaipublicfiles\.com/(?:detectron2|densepose)/": f"{_APACHE} (facebookresearch/detectron2)",
    r"https://mobile-cv\.s3": f"{_APACHE} (facebookresearch/d2go)",
    r"https://download\.pytorch\.org/models/": "BSD-3-Clause (torchvision); terms of the training data may apply",
    r"hf://": "see the model card on the hub",
}
# Part of a name or path -> terms of the data.
_DATA: Mapping[str, str] = {
    "densepose": "annotations CC BY-NC 4.0; images of COCO: Flickr's terms",
    "lvis": "annotations CC BY 4.0; images of COCO: Flickr's terms",
    "coco": "annotations CC BY 4.0; images: Flickr's terms, each of its own licence (cocodataset.org)",
    "cityscapes": "licence of its own: non-commercial research and teaching (cityscapes-dataset.com)",
    "voc": "images: Flickr's terms (host.robots.ox.ac.uk/pascal/VOC)",
    "ade20k": "images: non-commercial research and teaching (ade20k.csail.mit.edu)",
    "imagenet": "images: non-commercial research and teaching (image-net.org)",
}


class License(NamedTuple):
    """Licence of a package, weights or data.

    Attributes:
        kind: "package", "weights" or "data".
        name: name of the package, address of the weights, or the split and its annotations.
        terms: name of the licence, or where it is published.
    """

    kind: str
    name: str
    terms: str


def licenses_of(recipe: Recipe) -> list[License]:
    """Packages that build the recipe, with all that they require; weights that it starts from; its data."""
    tree = recipe.resolved().tree
    licenses = [License("package", name, package_license(name)) for name in _packages(tree["versions"])]
    addresses = dict.fromkeys(text for key, text in _texts(tree) if "://" in text and not key.startswith("data"))
    model = published.of_recipe(recipe.source)
    if model is not None and model.weights is not None:
        addresses.setdefault(model.weights)
    weights = tree.get("weights")
    if isinstance(weights, Mapping) and isinstance(source := weights.get("source"), str):
        addresses.setdefault(source)
    licenses += [License("weights", address, weights_license(address)) for address in addresses]
    for split in ("train", "val", "test"):
        node = (recipe.tree.get("data") or {}).get(split)
        if isinstance(node, Mapping):
            licenses.append(_data(split, node))
    return licenses


def weights_license(address: str) -> str:
    """The stated licence of the weights at an address."""
    if not address.startswith("https://"):
        from det_core.weights.sources import resolve  # imports torch, which a list of addresses does without

        try:
            address = resolve(address)
        except DetError:
            return _UNKNOWN
    listed = (model.licenses.get("weights") for model in published.models().values() if model.weights == address)
    general = (terms for start, terms in _WEIGHTS.items() if re.match(start, address))
    return next(filter(None, (*listed, *general)), _UNKNOWN)


def data_license(name: str) -> str:
    """The terms of a published dataset, by a part of its name or path."""
    return next((terms for part, terms in _DATA.items() if part in name.lower()), _UNKNOWN)


def package_license(name: str) -> str:
    """The licence in the metadata of an installed distribution."""
    about: Any = metadata.metadata(name)
    stated = about.get("License-Expression") or ""
    if not stated:
        classes = [
            line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License")
        ]
        stated = ", ".join(classes) or (about.get("License") or "").strip().partition("\n")[0][:80]
    return stated or "none in its metadata"


def _packages(names: Mapping[str, Any]) -> list[str]:
    """The installed distributions of these names, and what they require without extras, by name."""
    waiting, names_by_key = [name for name in names if name != "python"], {}
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in names_by_key:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        names_by_key[key] = name
        for line in distribution.requires or ():
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                continue
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return [names_by_key[key] for key in sorted(names_by_key)]


def _texts(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each text in a recipe with its dotted path."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _texts(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _texts(value, path)


def _data(split: str, node: Mapping[str, Any]) -> License:
    """The terms that the annotation file lists, else those of the published dataset that it is called after."""
    places = [text for key, text in _texts(node) if key.rpartition(".")[2] not in ("type", "classes")]
    places.sort(key=lambda place: place.endswith(".json"))  # the annotations last, which the data is called by
    for place in places:
        if place.endswith(".json") and Path(place).is_file():
            try:
                listed = json.loads(Path(place).read_text("utf-8")).get("licenses") or ()
                names = [str(each.get("name") or each.get("url")) for each in listed if isinstance(each, Mapping)]
            except (OSError, ValueError, AttributeError):
                names = []
            if names:
                return License("data", f"{split}: {place}", "; ".join(dict.fromkeys(names))[:300])
    name = " ".join((str(node.get("type", "")).rpartition("/")[2].replace("coco", ""), *places))
    return License("data", f"{split}: {places[-1] if places else node.get('type')}", data_license(name))
