"""A detector that takes a millisecond, or a given time of work, and images for it."""

import io
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from det_core.engine.checkpoint import Checkpoint, save_checkpoint
from det_core.structures import Detections, Prediction
from PIL import Image
from torch import nn

CLASSES = ("dark", "light")


class Tiny(nn.Module):
    """One object per image: its middle half, dark or light by its mean; none where the first pixel is red.

    Args:
        seconds: processor time that each image takes.
        kill: a file; while it exists, the process that predicts an image whose first pixel is blue is killed, and the
            file removed if `once`.
        once: see `kill`.
        fails: raise at each image.
        masks: predict masks, too.
    """

    def __init__(
        self, seconds: float = 0.0, kill: str = "", once: bool = True, fails: bool = False, masks: bool = False
    ):
        super().__init__()
        self.num_classes, self.seconds, self.kill, self.once, self.fails = len(CLASSES), seconds, kill, once, fails
        self.masks = masks
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, batch, targets=None):
        if self.fails:
            raise ArithmeticError("no image fits")
        images = [image[:, :h, :w] for image, (h, w) in zip(batch.pixels, batch.sizes, strict=True)]
        return [self.predicted(image, size) for image, size in zip(images, batch.sizes, strict=True)]

    def predicted(self, image, size):
        end = time.thread_time() + self.seconds
        first = image[:, 0, 0].tolist()
        if self.kill and Path(self.kill).exists() and first[2] > 200 and first[0] < 90:
            if self.once:
                Path(self.kill).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        mean = float((image.float().mean((1, 2)) * self.weight).mean()) / 255
        count = 0 if first[0] > 200 and first[2] < 90 else 1
        while time.thread_time() < end:
            torch.ones(64, 64).sum()
        height, width = size
        box = torch.tensor([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]])
        detections = Detections(
            boxes=box[:count],
            labels=torch.tensor([int(mean > 0.5)])[:count],
            scores=torch.tensor([0.6 + 0.4 * abs(mean - 0.5)])[:count],
            size=size,
            masks=torch.ones(count, 8, 8) if self.masks else None,
        )
        return Prediction(detections=detections)


def save(path, data="  eval_transforms: []\n", **arguments):
    """Write a checkpoint with the model; `data` is the section of its recipe."""
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in arguments.items()}
    given = "".join(f"  {name}: {text}\n" for name, text in texts.items())
    recipe = f"model:\n  type: tiny_detector:Tiny\n{given}data:\n{data}"
    save_checkpoint(path, Tiny(**arguments), Checkpoint(recipe=recipe, classes=CLASSES, category_ids=(7, 9)))
    return path


def picture(number, size=(24, 16), first=(128, 128, 128)):
    """The content of a PNG file, different for each number."""
    values = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
    values[0, 0] = first
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


def write(folder, count, start=0):
    """Write images 00000.png and so on; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.png" for number in range(start, start + count)]
    for number, path in enumerate(paths, start):
        path.write_bytes(picture(number))
    return paths


def write_dataset(folder, count, lvis=False):
    """Write images and annotations.json in the format of COCO or LVIS; returns a `data` section with them as `test`.

    Every other object is where the detector finds it, the rest a little beside.
    """
    paths = write(folder / "images", count)
    categories = [{"id": 7, "name": "dark"}, {"id": 9, "name": "light"}]
    images = [{"id": n + 1, "width": 24, "height": 16, "file_name": path.name} for n, path in enumerate(paths)]
    if lvis:
        categories = [{**each, "frequency": "rf"[n], "image_count": 5 + 300 * n} for n, each in enumerate(categories)]
        more = {"neg_category_ids": [7, 9], "not_exhaustive_category_ids": []}
        images = [{**each, **more} for each in images]
    annotations = []
    for number in range(count):
        x = 6 + number % 2 * (number % 5)
        corners = [x, 4, x + 12, 4, x + 12, 12, x, 12]
        about = {"id": number + 1, "image_id": number + 1, "category_id": 9 if number % 3 else 7, "iscrowd": 0}
        annotations.append({**about, "bbox": [x, 4, 12, 8], "area": 96, "segmentation": [corners]})
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    kind = "lvis" if lvis else "coco"
    where = f"images: {folder}/images, annotations: {folder}/annotations.json, masks: polygons"
    evaluator = f"[{{type: {kind}, iou_types: [bbox, segm]}}]"
    return f"  test: {{type: {kind}, {where}}}\n  evaluators: {evaluator}\n  workers: 0\n"
