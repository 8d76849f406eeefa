"""Fast R-CNN: proposals come with the images."""

import pytest
import torch
from det_core.backbones import ResNet
from det_core.errors import StructureError
from det_core.models import NMS, FastRCNNPredictor, StandardROIHeads, faster_rcnn
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Proposals, Targets


def model():
    torch.manual_seed(0)
    heads = Factory(StandardROIHeads, box_predictor=Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.0)))
    return faster_rcnn(
        ResNet(18, out_features=["res4"], res2_channels=8, stem_channels=8), 2, proposal_generator=None, roi_heads=heads
    )


def given(*boxes):
    return Proposals(boxes=torch.tensor(boxes).reshape(-1, 4), logits=torch.zeros(len(boxes)))


IMAGES = [torch.zeros(3, 32, 48, dtype=torch.uint8), torch.zeros(3, 32, 32, dtype=torch.uint8)]
PROPOSALS = [given([0.0, 0.0, 20.0, 20.0], [30.0, 4.0, 44.0, 28.0]), given()]
TRUTH = [
    Targets(boxes=torch.tensor([[0.0, 0.0, 20.0, 18.0]]), labels=torch.tensor([1])),
    Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64)),
]


def test_given_proposals_are_used_for_training_and_prediction():
    fast, batch = model(), ImageBatch.stack(IMAGES, PROPOSALS)
    assert fast.proposal_generator is None
    losses = fast(batch, TRUTH)
    assert set(losses) == {"loss_cls", "loss_box_reg"}
    sum(losses.values()).backward()
    assert [n for n, p in fast.named_parameters() if p.requires_grad and p.grad is None] == []
    some, none = (prediction.detections for prediction in fast.eval()(batch))
    assert len(some) == 4  # both boxes as either class
    assert len(none) == 0


def test_batch_without_proposals_is_refused():
    with pytest.raises(StructureError, match=r"ImageBatch.proposals: are needed"):
        model()(ImageBatch.stack(IMAGES))


def test_proposals_move_with_their_images_and_are_filter_targets():
    batch = ImageBatch.stack(IMAGES, PROPOSALS).to("meta")
    assert batch.proposals[0].boxes.is_meta
    with pytest.raises(StructureError, match="got 1 for 2 images"):
        ImageBatch.stack(IMAGES, PROPOSALS[:1])
