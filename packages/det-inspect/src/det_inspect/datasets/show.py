"""Pictures of a dataset with their ground truth: as stored, or as the network of a recipe gets them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from det_core.contracts import Dataset
from det_core.errors import ConfigError
from det_core.models.parts.preprocess import Normalize
from det_core.structures import ImageBatch, Targets
from det_core.visual import draw
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from det_core.recipes import Recipe

__all__ = ["network_pictures", "stored_pictures"]

_NONE = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))


def stored_pictures(dataset: Dataset, count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Pictures of a dataset in random order, each once, with their objects in the pixels of the files."""
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
    for index in order[:count]:
        sample = dataset[index]
        yield draw(sample.image, sample.targets or _NONE, dataset.classes)


def network_pictures(recipe: "Recipe", split: str, count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Batches as the network gets them: transformed, normalized and back, padded, with the transformed objects.

    Of "train" they are the first batches of a training with this seed, of other splits the first ones in order.

    Args:
        recipe: a recipe with `data`, `model` and `train`.
        split: "train", "val" or "test".
        count: maximum number of pictures to make.
        seed: seed of the order and of random transforms.

    Raises:
        ConfigError: the recipe does not name the split, or its model has no `Normalize`.
    """
    data, train = replace(recipe.build("data"), workers=0), recipe.build("train")
    classes = data.dataset(split).classes
    normalize = next((part for part in recipe.build_model().modules() if isinstance(part, Normalize)), None)
    if normalize is None:
        fix = "draw the pictures as stored, with --stored"
        raise ConfigError("model", "has no Normalize, so that its input cannot be drawn", fix=fix)
    if split == "train":
        batches: Any = data.train_loader(train.batch_size, seed)
    else:
        batches = data.eval_loader(split, train.evaluate_batch_size or train.batch_size)
    yield from islice(_of_batches(batches, normalize, classes), count)


def network_input(normalize: Normalize, images: ImageBatch) -> Tensor:
    """What the network gets of a batch, in colors: uint8 RGB (B, 3, H, W), with padding in the mean color."""
    with torch.no_grad():
        pixels = normalize(images) * normalize.std + normalize.mean
    pixels = pixels.flip(1) if normalize.flip else pixels
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _of_batches(batches: Any, normalize: Normalize, classes: Any) -> Iterator[Image.Image]:
    for batch in batches:
        targets = batch.targets or (_NONE,) * len(batch)
        for image, objects in zip(network_input(normalize, batch.images), targets, strict=True):
            yield draw(image, objects, classes)
