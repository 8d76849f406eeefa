"""How long grouping, merging and panoptic quality take, and a plain loop over segments beside the last.

Grouping and merging look at one image of 1024 x 2048, as Cityscapes has them, made up. Quality is judged on label
images: those of a COCO panoptic folder, if one is named, else made-up ones. Times are those of one thread. Run it:

    python benchmarks/panoptic.py [FOLDER OF PNG FILES, such as panoptic_val2017]
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from det_core.structures import Detections, PanopticMap, Prediction, Sample, Targets
from det_panoptic.data.label_image import read_label_image
from det_panoptic.evaluation import PanopticQuality
from det_panoptic.grouping import Grouping, as_detections, as_panoptic
from det_panoptic.merging import Merging
from det_panoptic.names import CITYSCAPES_THINGS
from det_panoptic.segments import IDS, SEGMENTS
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "panoptic.json"
SIZE, CLASSES = (1024, 2048), 19
IMAGES, LABELS = 20, 10


def measure(function: Callable[[], object], runs: int = 5) -> float:
    """The median of the seconds of processor time that a call takes, after one that is not counted."""
    seconds = []
    for _ in range(runs + 1):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:])


def street(things: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, centers and offsets of an image with so many things, in a grid on stuff."""
    random = torch.Generator().manual_seed(0)
    height, width = SIZE
    semantic = torch.arange(height)[:, None].expand(SIZE) * 11 // height
    semantic = semantic.clone()
    centers, offsets = torch.zeros(1, *SIZE), torch.randn(2, *SIZE, generator=random)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for number in range(things):
        top, left = 40 + 96 * (number // 20), 10 + 100 * (number % 20)
        semantic[top : top + 60, left : left + 80] = 11 + number % 8
        centers[0, top + 30, left + 40] = 0.9
        window = (slice(top, top + 60), slice(left, left + 80))
        offsets[0][window] += top + 30 - y[window]
        offsets[1][window] += left + 40 - x[window]
    logits = torch.randn(CLASSES, *SIZE, generator=random)
    logits.scatter_add_(0, semantic[None], torch.full((1, *SIZE), 6.0))
    return logits[None], centers[None], offsets[None]


def grouping(things: int) -> float:
    """Seconds from the maps of a network to segments and detections."""
    module, maps = Grouping(CLASSES, CITYSCAPES_THINGS), street(things)
    is_thing = module.is_thing.tolist()

    def whole() -> None:
        grouped = module(*maps)
        as_panoptic(grouped, 0, is_thing)
        assert len(as_detections(grouped, 0, SIZE)) == things

    return measure(whole, runs=2)


def merging(objects: int) -> float:
    """Seconds from detections and logits to segments."""
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(objects, 2, generator=random) * torch.tensor([1800.0, 800.0])
    boxes = torch.cat((corner, corner + 40 + 180 * torch.rand(objects, 2, generator=random)), dim=1)
    masks = torch.rand(objects, 28, 28, generator=random) * 0.2 + 0.6
    labels, scores = torch.zeros(objects, dtype=torch.int64), torch.rand(objects, generator=random) / 2 + 0.5
    found = Detections(boxes=boxes, labels=labels, scores=scores, size=SIZE, masks=masks)
    logits = street(0)[0][0]
    return measure(lambda: Merging()(found, logits, 8), runs=2)


def pairs(folder: Path | None) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """True maps, predicted maps that differ from them a little, and the label of each segment."""
    found = []
    random = np.random.default_rng(0)
    files = sorted(folder.glob("*.png"))[:IMAGES] if folder else [None] * IMAGES
    for file in files:
        if file is None:
            raw = np.kron(np.arange(40).reshape(5, 8), np.ones((96, 80), np.int64)).astype(np.int64)
        else:
            with Image.open(file) as picture:
                raw = read_label_image(file, (picture.height, picture.width))
        numbers, ids = np.unique(np.append(raw.ravel(), 0), return_inverse=True)
        ids = ids[:-1].reshape(raw.shape)
        guess = np.roll(ids, (3, 5), (0, 1))
        labels = random.integers(0, LABELS, len(numbers) - 1)
        found.append((ids, guess, labels))
    return found


def judged(images: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> list[tuple[Prediction, Sample]]:
    """The same as an evaluator is given them."""
    found = []
    for number, (ids, guess, labels) in enumerate(images):
        targets = Targets(
            boxes=torch.zeros(0, 4),
            labels=torch.zeros(0, dtype=torch.int64),
            image_extras={
                IDS: torch.from_numpy(ids).int(),
                SEGMENTS: torch.tensor([(label, 1, 0) for label in labels]),
            },
        )
        sample = Sample(image=torch.zeros(3, *ids.shape, dtype=torch.uint8), targets=targets, id=number)
        segments = [{"id": n, "label": int(label), "is_thing": True} for n, label in enumerate(labels, 1)]
        found.append((Prediction(panoptic=PanopticMap(ids=torch.from_numpy(guess).int(), segments=segments)), sample))
    return found


def vectorised(images: list[tuple[Prediction, Sample]]) -> dict[str, float]:
    """Our own."""
    evaluator = PanopticQuality([str(label) for label in range(LABELS)])
    for prediction, sample in images:
        evaluator.update(prediction, sample)
    return evaluator.result()


def loop(images: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """The same by a plain loop over segments; returns PQ."""
    sums = np.zeros((LABELS, 4))
    for ids, guess, labels in images:
        hit = set()
        for true, label in enumerate(labels, 1):
            mask = ids == true
            if not mask.any():
                continue
            missed = True
            for said, other in enumerate(labels, 1):
                if other != label:
                    continue
                own = guess == said
                shared = (mask & own).sum()
                joint = mask.sum() + own.sum() - shared - (own & (ids == 0)).sum()
                if joint and shared / joint > 0.5:
                    sums[label] += shared / joint, 1, 0, 0
                    hit.add(said)
                    missed = False
            sums[label, 3] += missed
        for said, label in enumerate(labels, 1):
            own = guess == said
            if said not in hit and own.any() and (own & (ids == 0)).sum() * 2 <= own.sum():
                sums[label, 2] += 1
    overlap, right, wrong, missed = sums.T
    there = right + wrong + missed > 0
    return float((overlap / np.maximum(right + (wrong + missed) / 2, 0.5))[there].mean())


def main() -> None:
    """Measure, print and write down."""
    torch.set_num_threads(1)
    images = pairs(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    given = judged(images)
    assert abs(vectorised(given)["panoptic/PQ"] - loop(images)) < 1e-12
    fast, slow = measure(lambda: vectorised(given), runs=3), measure(lambda: loop(images), runs=1)
    found = {
        "grouping, 1024 x 2048, 20 things, s/image": grouping(20),
        "grouping, 1024 x 2048, 180 things, s/image": grouping(180),
        "merging, 1024 x 2048, 100 detections, s/image": merging(100),
        "panoptic quality, ms/image": 1000 * fast / len(images),
        "panoptic quality by a loop, ms/image": 1000 * slow / len(images),
        "times as fast": slow / fast,
    }
    for name, value in found.items():
        print(f"{name:50} {value:.3g}")
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
    data = "real label images" if len(sys.argv) > 1 else "made-up label images"
    RESULTS.write_text(json.dumps({**found, "data": f"{len(images)} {data}", **about}, indent=1) + "\n")


if __name__ == "__main__":
    main()
