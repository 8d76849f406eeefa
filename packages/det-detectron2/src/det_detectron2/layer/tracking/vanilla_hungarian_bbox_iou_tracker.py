"""An assignment of as many overlaps as possible, as `detectron2.tracking.vanilla_hungarian_bbox_iou_tracker`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from det_detectron2.layer.structures import Instances, pairwise_iou
from det_detectron2.layer.tracking.base_tracker import TRACKER_HEADS_REGISTRY
from det_detectron2.layer.tracking.hungarian_tracker import BaseHungarianTracker
from det_detectron2.layer.tracking.utils import LARGE_COST_VALUE, create_prediction_pairs

__all__ = ["VanillaHungarianBBoxIOUTracker"]


@TRACKER_HEADS_REGISTRY.register()
class VanillaHungarianBBoxIOUTracker(BaseHungarianTracker):
    """A pair of boxes that overlap costs -1."""

    def build_cost_matrix(self, instances: Instances, prev_instances: Instances) -> Any:
        """(N, M): -1 for pairs that overlap, a large number for others."""
        overlaps = pairwise_iou(instances.pred_boxes, prev_instances.pred_boxes).numpy()
        pairs = create_prediction_pairs(instances, prev_instances, overlaps, threshold=self._track_iou_threshold)
        cost = np.full((len(instances), len(prev_instances)), LARGE_COST_VALUE, dtype=float)
        return self.assign_cost_matrix_values(cost, pairs)

    def assign_cost_matrix_values(self, cost_matrix: Any, bbox_pairs: Sequence[dict[str, Any]]) -> Any:
        """The costs of pairs, in place."""
        for pair in bbox_pairs:
            cost_matrix[pair["idx"]][pair["prev_idx"]] = -1
        return cost_matrix
