"""How good the contours of masks become: Mask R-CNN, PointRend and others, trained alike on nuclei.

Trains each recipe beside this file from the same ImageNet backbone, with the same images, seed and number of steps,
evaluates its masks on the validation images, and leaves a table and a picture. Half an hour on two CPU cores:

    python examples/nuclei/compare_masks.py --output runs/nuclei

What is in the folder already is not trained again. det-core and det-pointrend have to be installed.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from det_core import Detector, recipes
from det_core.data import Data
from det_core.engine import evaluate, train
from det_core.evaluation import CocoEvaluator
from det_core.ops.masks import paste_masks
from det_core.structures import Sample
from det_inspect.panels import contact_sheet
from det_pointrend.boundary import BoundaryEvaluator, boundaries
from det_pointrend.points_from_masks import with_points
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

HERE = Path(__file__).resolve().parent
NAMES = {
    "mask_rcnn": "Mask R-CNN",
    "pointrend": "PointRend",
    "implicit_pointrend": "Implicit PointRend",
    "point_sup": "PointSup (Mask R-CNN from ten points of each nucleus)",
}
WIDTH = 0.005
"""Of the boundaries, as a share of an image's diagonal: two or three pixels."""

FIGURES = {
    "segm/AP": "mask AP",
    "boundary/mask_AP90": "mask AP at 0.9",
    "boundary/IoU": "boundary IoU",
    "boundary/AP": "boundary AP",
    "bbox/AP": "box AP",
}
SCALE, PATCH = 6, 64
GT_COLOR, PREDICTION_COLOR = (250, 200, 40), (240, 60, 60)


def main() -> None:
    """Train missing models, evaluate all, draw."""
    parser = argparse.ArgumentParser(description="Compare the contours of masks on nuclei.")
    parser.add_argument("--output", type=Path, default=Path("runs/nuclei"), help="the folder for runs and results")
    parser.add_argument("--models", nargs="+", choices=NAMES, default=list(NAMES), help="which to compare")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change all recipes")
    arguments = parser.parse_args()
    # The recipes name their files from the root of the repository, wherever this is called from.
    os.environ["DET_DATA"] = str(HERE.parents[1])
    arguments.output.mkdir(parents=True, exist_ok=True)
    content = json.loads((HERE / "instances_train.json").read_text(encoding="utf-8"))
    points = (arguments.output / "points_train.json").resolve()
    points.write_text(json.dumps(with_points(content)[0]), encoding="utf-8")
    detectors, figures = {}, {}
    for name in arguments.models:
        folder = arguments.output / name
        if not (folder / "last.safetensors").exists():
            overrides = [f"data.train.annotations={points}"] if name == "point_sup" else []
            train(recipes.load(HERE / f"{name}.yaml", [*arguments.set, *overrides]), folder, overwrite=True)
        detectors[name] = Detector.load(folder / "last.safetensors")
        figures[name] = figures_of(detectors[name], name)
    data = recipes.load(HERE / "mask_rcnn.yaml").build("data")
    table = table_of(figures)
    (arguments.output / "masks.md").write_text(table, encoding="utf-8")
    (arguments.output / "masks.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    draw_contours(detectors, data).save(arguments.output / "masks.png", optimize=True)
    print(f"\n{table}\nThe table and the picture: {arguments.output}/masks.md, masks.json and masks.png")


def figures_of(detector: Detector, name: str) -> dict[str, float]:
    """The figures of a detector on the validation images."""
    data = recipes.load(HERE / f"{name}.yaml").build("data")
    evaluators = [CocoEvaluator(detector.classes, ["bbox", "segm"]), BoundaryEvaluator(detector.classes, width=WIDTH)]
    metrics = evaluate(detector.model, data.eval_loader("val", batch_size=4), evaluators).metrics
    return {key: metrics[key] for key in FIGURES if key in metrics}


def table_of(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The figures as a table, in percent."""
    head = f"| {' | '.join(('', *FIGURES.values()))} |"
    rows = [
        f"| {' | '.join((NAMES[name], *(f'{100 * metrics[key]:.1f}' if key in metrics else '-' for key in FIGURES)))} |"
        for name, metrics in figures.items()
    ]
    return "\n".join([head, f"| --- |{' ---: |' * len(FIGURES)}", *rows]) + "\n"


def draw_contours(detectors: Mapping[str, Detector], data: Data) -> Image.Image:
    """Contours of the largest nucleus of some images, a row each: ground truth, then the predictions of each model."""
    dataset = data.dataset("val")
    panels = []
    for index in range(0, len(dataset), -(-len(dataset) // 4)):
        sample = dataset[index]
        row = _largest(sample)
        gt_mask = sample.targets.masks[row]
        corner = _corner(sample.targets.boxes[row], sample.size)
        panels.append(_panel(sample.image, gt_mask, gt_mask, corner, "ground truth"))
        for name, detector in detectors.items():
            detections = detector(sample.image).detections
            masks = paste_masks(detections.masks, detections.boxes, sample.size)
            prediction = max(masks, key=partial(_overlap, gt_mask), default=torch.zeros_like(gt_mask))
            text = f"{NAMES[name].partition(' (')[0]}: {100 * _overlap(gt_mask, prediction):.0f}"
            panels.append(_panel(sample.image, gt_mask, prediction, corner, text))
    return contact_sheet(panels, columns=1 + len(detectors), gap=6)


def _largest(sample: Sample) -> int:
    """The largest nucleus that does not touch the edge of its image."""
    boxes, (height, width) = sample.targets.boxes, sample.size
    inside = (boxes[:, :2] > 1).all(1) & (boxes[:, 2] < width - 1) & (boxes[:, 3] < height - 1)
    return int((sample.targets.masks.flatten(1).sum(1) * inside).argmax())


def _overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum().clamp(min=1))


def _corner(box: Tensor, size: Sequence[int]) -> tuple[int, int]:
    """Top and left of the patch around the middle of a box."""
    x, y = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    places = [int(middle) - PATCH // 2 for middle in (y, x)]
    top, left = (max(0, min(place, side - PATCH)) for place, side in zip(places, size, strict=True))
    return top, left


def _panel(image: Tensor, gt_mask: Tensor, prediction: Tensor, corner: tuple[int, int], text: str) -> Image.Image:
    """A patch, enlarged, with the contours of the ground-truth and the predicted mask, and a line of text."""
    window = (slice(corner[0], corner[0] + PATCH), slice(corner[1], corner[1] + PATCH))
    picture = to_pil_image(image[:, *window]).resize((PATCH * SCALE, PATCH * SCALE), Image.Resampling.BICUBIC)
    for mask, color in ((gt_mask, GT_COLOR), (prediction, PREDICTION_COLOR)):
        large = mask[window].repeat_interleave(SCALE, 0).repeat_interleave(SCALE, 1)
        line = to_pil_image(255 * boundaries(large[None], 1).to(torch.uint8))
        picture.paste(color, mask=line)
    ImageDraw.Draw(picture).text(
        (6, 4), text, fill=(255, 255, 255), font_size=20, stroke_width=2, stroke_fill=(0, 0, 0)
    )
    return picture


if __name__ == "__main__":
    main()
