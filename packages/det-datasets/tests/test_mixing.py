"""Mosaic and copy-paste: what is said of an object stays true of the pixels where it lands."""

from typing import Any

import pytest
import torch
from det_core.data import TrainLoader
from det_core.errors import ConfigError, DataError
from det_core.ops.masks import rasterise
from det_core.structures import Polygons, Sample, Targets
from det_datasets.around import ConcatDataset, CopyPaste, Mosaic


class Blocks:
    """Image i, of 40 x (50 + 10 i) pixels, holds blocks of grey 50, 100 ...; labels, masks and keypoints tell them."""

    classes, evaluators, flip_pairs = ("a", "b", "c"), (), ()
    num_objects = 9

    def __init__(self, masks: str = "bitmaps") -> None:
        self.masks = masks

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        size = (40, 50 + 10 * index)
        corners = [(4, 5, 16, 15), (24, 8, 40, 30), (6, 22, 20, 38)]
        image = torch.zeros((3, *size), dtype=torch.uint8)
        for label, (x0, y0, x1, y1) in enumerate(corners):
            image[:, y0:y1, x0:x1] = 50 * (label + 1)
        outlines = Polygons.of([[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in corners])
        boxes = torch.tensor(corners, dtype=torch.float32)
        centres = torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2, torch.full((3, 1), 2.0)), 1)
        targets = Targets(
            boxes=boxes,
            labels=torch.arange(3),
            masks=outlines if self.masks == "polygons" else rasterise(outlines, size),
            keypoints=centres[:, None],
            areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            extras={"test/label": torch.arange(3)},
        )
        return Sample(image=image, targets=targets, id=index)

    def size_of(self, index: int) -> tuple[int, int]:
        return 40, 50 + 10 * index

    def labels_of(self, index: int) -> list[int]:
        return [0, 1, 2]


def require_true(sample: Sample) -> int:
    """Check each object against the pixels; returns how many there are."""
    targets = sample.targets
    assert targets is not None
    assert targets.keypoints is not None
    masks = targets.masks if isinstance(targets.masks, torch.Tensor) else rasterise(targets.masks, sample.size)  # type: ignore[arg-type]
    assert torch.equal(targets.extras["test/label"], targets.labels)
    for mask, box, label, keypoint in zip(masks, targets.boxes, targets.labels, targets.keypoints[:, 0], strict=True):
        grey = 50 * (int(label) + 1)
        # Resizing mixes the colours along the rim, nowhere else; what is cut to a strip is all rim.
        if (box[2:] - box[:2]).min() >= 8:
            assert ((sample.image[0][mask].int() - grey).abs() <= 3).float().mean() > 0.4
        rows, columns = mask.nonzero(as_tuple=True)
        found = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
        assert (found - box).abs().max() <= 1.5
        x, y, seen = keypoint.tolist()
        if seen == 2:
            assert box[0] - 1 <= x <= box[2] + 1
            assert box[1] - 1 <= y <= box[3] + 1
            assert (
                abs(int(sample.image[0, min(int(y), sample.size[0] - 1), min(int(x), sample.size[1] - 1)]) - grey) <= 3
            )
    return len(targets)


def test_every_object_of_a_mosaic_is_where_it_is_said_to_be() -> None:
    torch.manual_seed(0)
    mosaic = Mosaic(Blocks(), size=(80, 96))
    counts = []
    for index in range(24):
        sample = mosaic[index % 3]
        assert (sample.size, sample.id) == ((80, 96), index % 3)
        counts.append(require_true(sample))
    assert max(counts) > 6
    assert mosaic.size_of(0) == (80, 96)


def test_every_object_of_a_pasted_image_is_where_it_is_said_to_be() -> None:
    torch.manual_seed(0)
    pasted = CopyPaste(Blocks(), chance=1.0)
    counts = []
    for index in range(24):
        sample = pasted[index % 3]
        assert sample.size == pasted.size_of(index % 3)
        counts.append(require_true(sample))
        assert isinstance(sample.targets.masks, torch.Tensor)  # type: ignore[union-attr]
        # No pixel belongs to two objects that came from one image, and what is on top is whole.
        assert int(sample.targets.masks.sum(0).max()) == 1  # type: ignore[union-attr]
    assert max(counts) > 3
    assert min(counts) >= 1


def test_a_chance_of_nothing_leaves_samples_as_they_are() -> None:
    for around in (Mosaic(Blocks(), chance=0.0), CopyPaste(Blocks(), chance=0.0)):
        assert torch.equal(around[1].image, Blocks()[1].image)
        assert len(around) == 3
        assert around.size_of(1) == (40, 60)
        assert list(around.labels_of(0)) == [0, 1, 2]


def test_the_stream_of_mixed_samples_is_a_function_of_the_seed_and_goes_on_at_the_exact_sample() -> None:
    def images(start: int) -> list[Any]:
        dataset = Mosaic(Blocks(), size=(32, 32))
        batches = iter(TrainLoader(dataset=dataset, batch_size=2, seed=3, start=start))
        return [next(batches).images.pixels for _ in range(3)]

    first, again, later = images(0), images(0), images(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(later[0], first[2])
    assert not torch.equal(first[0], first[1])


def test_what_cannot_be_mixed_is_told() -> None:
    torch.manual_seed(0)
    for around in (Mosaic(Blocks("polygons")), CopyPaste(Blocks("polygons"), chance=1.0)):
        with pytest.raises(DataError, match=r"has outlines, which do not end where .*; set masks to 'bitmaps'"):
            around[0]
    with pytest.raises(ConfigError, match=r"Mosaic.size: must be height and width"):
        Mosaic(Blocks(), size=(3, 3))
    with pytest.raises(ConfigError, match=r"CopyPaste.chance: must be from 0 to 1"):
        CopyPaste(Blocks(), chance=2)


@pytest.mark.parametrize("around", [Mosaic, CopyPaste])
def test_datasets_around_concat_keep_its_weights(around: Any) -> None:
    weighted = around(ConcatDataset([Blocks(), Blocks()], [1, 5]))
    seen = weighted.sampler(0).epoch(0)
    assert (sum(seen < 3), sum(seen >= 3)) == (1, 5)
    assert around(ConcatDataset([Blocks(), Blocks()])).sampler(0) is None
    assert not hasattr(around(Blocks()), "sampler")
