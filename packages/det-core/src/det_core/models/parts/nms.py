"""Selection of detections and proposals: score thresholds, top-k, and non-maximum suppression (NMS)."""

from dataclasses import dataclass

__all__ = ["NMS", "DenseNMS", "ProposalNMS"]


@dataclass(frozen=True)
class NMS:
    """Selection of the detections of a second stage.

    Attributes:
        score_threshold: minimum score of a detection, exclusive, in [0, 1].
        iou_threshold: IoU above which the worse of two detections of one class is dropped.
        max_detections: maximum number of detections per image, by score.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    max_detections: int = 100


@dataclass(frozen=True)
class DenseNMS(NMS):
    """Selection of the detections of a one-stage head.

    Attributes:
        topk_candidates: pre-NMS top-k: pairs of candidate and class per level and image.
        clip_before_nms: whether boxes are clipped to the image before NMS, as in torchvision, and not only after.
    """

    topk_candidates: int = 1000
    clip_before_nms: bool = False


@dataclass(frozen=True)
class ProposalNMS:
    """Selection of the proposals of an RPN.

    Attributes:
        pre_nms_topk_train: proposals per level and image before NMS, in training.
        pre_nms_topk_test: proposals per level and image before NMS, at inference.
        post_nms_topk_train: proposals per image after NMS, in training.
        post_nms_topk_test: proposals per image after NMS, at inference.
        iou_threshold: IoU above which the worse of two proposals of one level is dropped.
        min_size: minimum side of a proposal in pixels, exclusive.
    """

    pre_nms_topk_train: int = 2000
    pre_nms_topk_test: int = 1000
    post_nms_topk_train: int = 1000
    post_nms_topk_test: int = 1000
    iou_threshold: float = 0.7
    min_size: float = 0.0

    def pre_nms_topk(self, training: bool) -> int:
        """Proposals per level and image before NMS."""
        return self.pre_nms_topk_train if training else self.pre_nms_topk_test

    def post_nms_topk(self, training: bool) -> int:
        """Proposals per image after NMS."""
        return self.post_nms_topk_train if training else self.post_nms_topk_test
