"""How long the evaluation of DensePose takes: 2 000 images, one person of 100 annotated points in each.

    python benchmarks/densepose_evaluation.py [--images 2000] [--side 200]

Truth and predictions are made up, raw maps of 112 x 112 as the published models give them; making them is not counted.
"""

import argparse
import time

import torch
from det_core.data.transforms import Points
from det_core.structures import Detections, Prediction, Sample, Targets
from det_densepose.bodies.body import FIGURE
from det_densepose.evaluation import DensePoseEvaluator
from det_densepose.structures import COARSE, FRAME, GRID, MESH, POINTS, PREFIX, SURFACE, CoarseParts, SurfaceLabels


def person(side: int, seed: int) -> tuple[Prediction, Sample]:
    """An image of 480 x 640 with a person of `side` x 2 `side` pixels, and what a model says of it."""
    torch.manual_seed(seed)
    x, y = 50.0, 20.0
    box = torch.tensor([[x, y, x + side, y + 2 * side]])
    grid = torch.rand(1, 100, 2) * 255
    surface = torch.stack(
        (torch.randint(1, 25, (1, 100)).float(), torch.rand(1, 100), torch.rand(1, 100), torch.full((1, 100), -1.0)), -1
    )
    corners = torch.stack((box[0, :2], box[0, [2, 1]], box[0, [0, 3]]))[None]
    extras = {
        POINTS: Points(box[:, None, :2] + grid / 256 * torch.tensor([side, 2.0 * side]), canvas_size=(480, 640)),
        SURFACE: SurfaceLabels(surface),
        GRID: grid,
        MESH: torch.tensor([-1]),
        FRAME: Points(corners, canvas_size=(480, 640)),
        COARSE: CoarseParts(torch.ones(1, 256, 256, dtype=torch.uint8)),
    }
    labels = torch.zeros(1, dtype=torch.int64)
    image = torch.zeros((), dtype=torch.uint8).expand(3, 480, 640)
    sample = Sample(image=image, targets=Targets(boxes=box, labels=labels, extras=extras), id=seed)
    raw = {name: torch.randn(1, 25, 112, 112) for name in ("fine_segm", "u", "v")}
    raw["coarse_segm"] = torch.randn(1, 2, 112, 112)
    named = {PREFIX + name: value for name, value in raw.items()}
    found = Detections(boxes=box + 3, labels=labels, scores=torch.rand(1), size=(480, 640), extras=named)
    return Prediction(detections=found), sample


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=100, help="width of a person in pixels; it is twice as high")
    arguments = parser.parse_args()
    evaluator = DensePoseEvaluator(["person"], body=FIGURE)
    evaluator.update(*person(arguments.side, -1))  # distances are made once
    wall = processor = 0.0
    for number in range(arguments.images):
        pair = person(arguments.side, number)
        start, own = time.perf_counter(), time.process_time()
        evaluator.update(*pair)
        wall, processor = wall + time.perf_counter() - start, processor + time.process_time() - own
    start, own = time.perf_counter(), time.process_time()
    evaluator.result()
    end = time.perf_counter() - start, time.process_time() - own
    print(f"{arguments.images} images: {wall + end[0]:.1f} s, of which result() {end[0]:.1f} s")
    print(f"processor time: {processor + end[1]:.1f} s, {1000 * processor / arguments.images:.1f} ms an image")


if __name__ == "__main__":
    main()
