"""Pictures of several images."""

import torch
from det_core.structures import Detections, Targets
from det_core.visual import class_color
from det_inspect.panels import contact_sheet, side_by_side
from PIL import Image


def test_side_by_side_ground_truth_is_left_of_prediction() -> None:
    image = Image.new("RGB", (120, 100), "gray")
    targets = Targets(boxes=torch.tensor([[20.0, 30.0, 100.0, 90.0]]), labels=torch.tensor([1]))
    nothing = Detections(
        boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), scores=torch.zeros(0), size=(100, 120)
    )
    panel = side_by_side(image, targets, nothing, ("a", "b"))
    middle = panel.width // 2
    left, right = panel.crop((0, 0, middle, panel.height)), panel.crop((middle, 0, panel.width, panel.height))
    assert class_color(1) in {pixel for _, pixel in left.getcolors(100_000) or ()}
    assert class_color(1) not in {pixel for _, pixel in right.getcolors(100_000) or ()}


def test_contact_sheet_has_rows_of_equal_cells() -> None:
    images = [Image.new("RGB", (30, 20)), Image.new("RGB", (10, 40)), Image.new("RGB", (30, 20))]
    assert contact_sheet(images, columns=2, gap=5).size == (2 * 30 + 3 * 5, 2 * 40 + 3 * 5)
    assert contact_sheet(images[:1], columns=2, gap=5).size == (40, 30)
