"""Small synthetic images with objects, the same on every machine."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from det_core.structures import ImageBatch, Sample, Size, Targets

__all__ = ["CLASSES", "Scene", "of_classes", "scene"]

CLASSES = ("red", "green", "blue")
_KEYPOINTS = 17


@dataclass(frozen=True)
class Scene:
    """Images of one size, with targets."""

    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> "Scene":
        return Scene((self.samples[number],))

    @property
    def targets(self) -> list[Targets]:
        """The targets of each image."""
        return [sample.targets for sample in self.samples if sample.targets is not None]

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of each image."""
        return tuple(sample.size for sample in self.samples)

    @property
    def batch(self) -> ImageBatch:
        """The images, padded to one size."""
        return ImageBatch.stack([sample.image for sample in self.samples])


def scene(
    images: int = 2, size: Size = (64, 96), objects: int = 3, annotate: Callable[[Targets], Targets] | None = None
) -> Scene:
    """Gray noise with colored rectangles, one color per class.

    Targets have boxes, labels, areas, masks, 17 keypoints and a semantic map; `annotate` adds to them.
    """
    return Scene(tuple(_sample(number, size, objects, annotate) for number in range(images)))


def _sample(number: int, size: Size, objects: int, annotate: Callable[[Targets], Targets] | None) -> Sample:
    random = torch.Generator().manual_seed(number)
    height, width = size
    image = torch.randint(96, 160, (3, height, width), generator=random, dtype=torch.uint8)
    labels = torch.arange(objects) % len(CLASSES)
    masks = torch.zeros(objects, height, width, dtype=torch.bool)
    boxes = torch.zeros(objects, 4)
    for row in range(objects):
        h, w = (max(1, int(side * (0.3 + 0.3 * torch.rand((), generator=random)))) for side in size)
        y = int(torch.randint(0, height - h + 1, (), generator=random))
        x = int(torch.randint(0, width - w + 1, (), generator=random))
        image[:, y : y + h, x : x + w] = 40
        image[labels[row], y : y + h, x : x + w] = 220
        boxes[row] = torch.tensor([x, y, x + w, y + h])
        masks[row, y : y + h, x : x + w] = True
    share = torch.rand(objects, _KEYPOINTS, 2, generator=random)
    points = boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])
    semantic = torch.full(size, 255)
    for row in range(objects):
        semantic[masks[row]] = labels[row]
    targets = Targets(
        boxes=boxes,
        labels=labels,
        masks=masks,
        keypoints=torch.cat((points, torch.full_like(points[..., :1], 2)), dim=2),
        areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
        semantic=semantic,
    )
    return Sample(image=image, targets=annotate(targets) if annotate else targets, id=number)


def of_classes(targets: Targets, num_classes: int) -> Targets:
    """The same objects for a part with `num_classes` classes."""
    return replace(targets, labels=targets.labels % num_classes)
