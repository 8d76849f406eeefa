"""Of boxes that overlap, the best one stays."""

import torch
from det_core.ops.boxes import iou
from det_core.ops.nms import nms_by_group

# The second overlaps the first by 1/3, the third not at all.
BOXES = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 5.0, 10.0, 15.0], [50.0, 50.0, 60.0, 60.0]])
SCORES = torch.tensor([0.5, 0.9, 0.7])
TOGETHER = torch.zeros(3, dtype=torch.int64)


def test_nms_drops_worse_overlapping_box_and_sorts_by_score():
    assert nms_by_group(BOXES, SCORES, TOGETHER, 0.3).tolist() == [1, 2]


def test_nms_keeps_iou_equal_to_threshold():
    half = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0]])
    assert nms_by_group(half, torch.tensor([0.9, 0.8]), TOGETHER[:2], 0.5).tolist() == [0, 1]


def test_boxes_of_different_groups_do_not_know_each_other():
    assert nms_by_group(BOXES, SCORES, torch.tensor([0, 1, 0]), 0.3).tolist() == [1, 2, 0]


def test_no_boxes_leave_no_boxes():
    assert nms_by_group(torch.zeros(0, 4), torch.zeros(0), TOGETHER[:0], 0.5).tolist() == []


def plain_nms(boxes, scores, groups, threshold):
    """The definition, one box at a time."""
    kept = []
    for i in scores.argsort(descending=True).tolist():
        rivals = [k for k in kept if groups[k] == groups[i]]
        if not rivals or iou(boxes[i : i + 1], boxes[rivals]).max() <= threshold:
            kept.append(i)
    return kept


def test_many_boxes_of_many_groups_agree_with_the_definition():
    random = torch.Generator().manual_seed(0)
    corners = torch.rand(1200, 2, generator=random) * 300
    boxes = torch.cat((corners, corners + 5 + torch.rand(1200, 2, generator=random) * 60), dim=1)
    scores, groups = torch.rand(1200, generator=random), torch.randint(0, 3, (1200,), generator=random)
    for count in (200, 1200):  # torchvision takes another way when there are many
        expected = plain_nms(boxes[:count], scores[:count], groups[:count], 0.5)
        assert nms_by_group(boxes[:count], scores[:count], groups[:count], 0.5).tolist() == expected


class _Suppressed(torch.nn.Module):
    def forward(self, boxes, scores, groups, wanted):
        usable = torch.nonzero(scores > wanted).squeeze(1)
        return usable[nms_by_group(boxes[usable], scores[usable], groups[usable], 0.5)]


def test_nms_by_group_exported_equals_eager_for_any_count():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [-30, -30, -20, -20], [0, 0, 10, 10], [0, 0, 0, 0]]).float()
    scores, groups = torch.tensor([0.9, 0.8, -4.0, 0.7, 0.6]), torch.tensor([0, 0, 0, 3, 1])
    module = _Suppressed()
    exported = torch.export.export(module, (boxes, scores, groups, torch.tensor(0.0)), strict=True).module()
    for wanted, kept in ((2.0, []), (0.85, [0]), (0.75, [0]), (0.65, [0, 3]), (-9.0, [0, 3, 4, 2])):
        arguments = (boxes, scores, groups, torch.tensor(wanted))
        assert module(*arguments).tolist() == kept
        assert exported(*arguments).tolist() == kept
