"""What becomes a detection or a proposal: score thresholds, numbers of candidates, and suppression (NMS)."""

from dataclasses import dataclass

__all__ = ["NMS", "DenseNMS", "ProposalNMS"]


@dataclass(frozen=True)
class NMS:
    """Which boxes of a second stage become detections.

    Attributes:
        score_threshold: detections must score more than this, in [0, 1].
        iou_threshold: IoU beyond which the worse of two detections of one class is dropped.
        max_detections: most detections of an image; the best stay.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    max_detections: int = 100


@dataclass(frozen=True)
class DenseNMS(NMS):
    """Which candidates of a one-stage head become detections.

    Attributes:
        topk_candidates: pairs of candidate and class that enter suppression, of each level and image.
        clip_before_nms: clip boxes to the image before suppression, as torchvision does, and not only after.
    """

    topk_candidates: int = 1000
    clip_before_nms: bool = False


@dataclass(frozen=True)
class ProposalNMS:
    """Which anchors of an RPN become proposals.

    Attributes:
        pre_nms_topk_train: proposals of a level and image that enter suppression, in training.
        pre_nms_topk_test: the same at inference.
        post_nms_topk_train: proposals of an image that leave suppression, in training.
        post_nms_topk_test: the same at inference.
        iou_threshold: IoU beyond which the worse of two proposals of one level is dropped.
        min_size: proposals must have sides longer than this, in pixels.
    """

    pre_nms_topk_train: int = 2000
    pre_nms_topk_test: int = 1000
    post_nms_topk_train: int = 1000
    post_nms_topk_test: int = 1000
    iou_threshold: float = 0.7
    min_size: float = 0.0

    def pre_nms_topk(self, training: bool) -> int:
        """Proposals of a level and image that enter suppression."""
        return self.pre_nms_topk_train if training else self.pre_nms_topk_test

    def post_nms_topk(self, training: bool) -> int:
        """Proposals of an image that leave suppression."""
        return self.post_nms_topk_train if training else self.post_nms_topk_test
