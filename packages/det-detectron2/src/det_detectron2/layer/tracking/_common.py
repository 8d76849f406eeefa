"""What trackers of boxes share: the fields of instances, and objects that are lost for a while."""

from collections.abc import Iterable
from typing import Any

import torch

from det_detectron2.layer.config import configurable
from det_detectron2.layer.structures import Boxes, Instances
from det_detectron2.layer.tracking.base_tracker import BaseTracker

__all__ = ["BoxTracker"]


class BoxTracker(BaseTracker):
    """Tracker base class: keeps lost objects for some frames.

    Args:
        video_height: height of the video in pixels.
        video_width: width of the video in pixels.
        max_num_instances: accepted for compatibility.
        max_lost_frame_count: maximum number of frames for which a lost object is kept.
        min_box_rel_dim: minimum side of a lost object, as a fraction of the side of the video.
        min_instance_period: minimum number of frames, exclusive, after which a lost object is kept.
        track_iou_threshold: minimum IoU of boxes of the same object.
        kwargs: accepted for compatibility.
    """

    @configurable
    def __init__(
        self,
        *,
        video_height: int,
        video_width: int,
        max_num_instances: int = 200,
        max_lost_frame_count: int = 0,
        min_box_rel_dim: float = 0.02,
        min_instance_period: int = 1,
        track_iou_threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._video_height, self._video_width = video_height, video_width
        self._max_num_instances, self._max_lost_frame_count = max_num_instances, max_lost_frame_count
        self._min_box_rel_dim, self._min_instance_period = min_box_rel_dim, min_instance_period
        self._track_iou_threshold = track_iou_threshold

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        assert "VIDEO_HEIGHT" in cfg.TRACKER_HEADS
        assert "VIDEO_WIDTH" in cfg.TRACKER_HEADS
        names = (
            *("video_height", "video_width", "max_num_instances", "max_lost_frame_count", "min_box_rel_dim"),
            *("min_instance_period", "track_iou_threshold"),
        )
        current = cfg.TRACKER_HEADS
        return {"_target_": cls.__name__, **{n: current[n.upper()] for n in names if n.upper() in current}}

    def _initialize_extra_fields(self, instances: Instances) -> Instances:
        """Give instances "ID", "ID_period" and "lost_frame_count"; in the first frame they are numbered."""
        count = len(instances)
        for name in ("ID", "ID_period", "lost_frame_count"):
            if not instances.has(name):
                instances.set(name, [None] * count)
        if self._prev_instances is None:
            instances.ID = list(range(self._id_count, self._id_count + count))
            self._id_count += count
            instances.ID_period, instances.lost_frame_count = [1] * count, [0] * count
        return instances

    def _keep(self, instances: Instances, places: Iterable[int]) -> Instances:
        """The instances and those of the frame before at these places, as far as they are to be kept."""
        before = self._prev_instances
        if before is None:
            return instances
        boxes = before.pred_boxes.tensor.cpu().numpy()
        retained = []
        for place in places:
            width, height = boxes[place][2:] - boxes[place][:2]
            small = (
                width / self._video_width < self._min_box_rel_dim or height / self._video_height < self._min_box_rel_dim
            )
            lost = before.lost_frame_count[place] >= self._max_lost_frame_count
            if small or lost or before.ID_period[place] <= self._min_instance_period:
                continue
            retained.append(place)
        if not retained:
            return instances
        more = Instances(
            image_size=instances.image_size,
            pred_boxes=Boxes(torch.as_tensor(boxes[retained])),
            pred_classes=before.pred_classes[retained],
            scores=before.scores[retained],
            ID=[before.ID[place] for place in retained],
            ID_period=[before.ID_period[place] for place in retained],
            lost_frame_count=[before.lost_frame_count[place] + 1 for place in retained],
        )
        if instances.has("pred_masks"):
            more.pred_masks = before.pred_masks[retained]
        for name in list(instances.get_fields()):
            if not more.has(name):
                instances.remove(name)
        return Instances.cat([instances, more])
