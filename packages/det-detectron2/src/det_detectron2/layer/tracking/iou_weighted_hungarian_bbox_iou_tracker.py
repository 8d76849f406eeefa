"""An assignment of the largest overlap, as `detectron2.tracking.iou_weighted_hungarian_bbox_iou_tracker`."""

from collections.abc import Sequence
from typing import Any

from det_detectron2.layer.tracking.base_tracker import TRACKER_HEADS_REGISTRY
from det_detectron2.layer.tracking.vanilla_hungarian_bbox_iou_tracker import VanillaHungarianBBoxIOUTracker

__all__ = ["IOUWeightedHungarianBBoxIOUTracker"]


@TRACKER_HEADS_REGISTRY.register()
class IOUWeightedHungarianBBoxIOUTracker(VanillaHungarianBBoxIOUTracker):
    """A pair of boxes costs its IoU, negative."""

    def assign_cost_matrix_values(self, cost_matrix: Any, bbox_pairs: Sequence[dict[str, Any]]) -> Any:
        """The costs of pairs, in place."""
        for pair in bbox_pairs:
            cost_matrix[pair["idx"]][pair["prev_idx"]] = -1 * pair["IoU"]
        return cost_matrix
