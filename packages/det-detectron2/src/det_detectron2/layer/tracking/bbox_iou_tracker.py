"""The best overlap of each object, as `detectron2.tracking.bbox_iou_tracker`."""

import numpy as np

from det_detectron2.layer.structures import Instances, pairwise_iou
from det_detectron2.layer.tracking._common import BoxTracker
from det_detectron2.layer.tracking.base_tracker import TRACKER_HEADS_REGISTRY
from det_detectron2.layer.tracking.utils import create_prediction_pairs

__all__ = ["BBoxIOUTracker"]


@TRACKER_HEADS_REGISTRY.register()
class BBoxIOUTracker(BoxTracker):
    """Gives each object the ID of the object before that it overlaps most, best pairs first."""

    def update(self, predictions: Instances) -> Instances:
        """The instances of the next frame, with their IDs."""
        instances = self._initialize_extra_fields(predictions)
        before = self._prev_instances
        if before is not None:
            overlaps = pairwise_iou(instances.pred_boxes, before.pred_boxes).numpy()
            pairs = create_prediction_pairs(instances, before, np.asarray(overlaps), self._track_iou_threshold)
            self._reset_fields()
            for pair in sorted(pairs, key=lambda each: -each["IoU"]):
                place, number = pair["idx"], pair["prev_id"]
                if place in self._matched_idx or number in self._matched_ID:
                    continue
                instances.ID[place] = number
                instances.ID_period[place] = pair["prev_period"] + 1
                instances.lost_frame_count[place] = 0
                self._matched_idx.add(place)
                self._matched_ID.add(number)
                self._untracked_prev_idx.remove(pair["prev_idx"])
            instances = self._assign_new_id(instances)
            instances = self._keep(instances, sorted(self._untracked_prev_idx))
        self._prev_instances = instances
        return instances

    def _reset_fields(self) -> None:
        self._matched_idx, self._matched_ID = set(), set()
        self._untracked_prev_idx = set(range(len(self._prev_instances)))  # type: ignore[arg-type]

    def _assign_new_id(self, instances: Instances) -> Instances:
        """Number those without a match."""
        for place in sorted(set(range(len(instances))) - self._matched_idx):
            instances.ID[place] = self._id_count
            self._id_count += 1
            instances.ID_period[place], instances.lost_frame_count[place] = 1, 0
        return instances
