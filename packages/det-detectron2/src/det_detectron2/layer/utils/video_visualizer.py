"""Pictures of the frames of a video, as `detectron2.utils.video_visualizer`."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from det_detectron2.layer.structures import Instances
from det_detectron2.layer.utils.visualizer import ColorMode, VisImage, Visualizer

__all__ = ["VideoVisualizer"]


class VideoVisualizer:
    """`Visualizer` for video frames; colors depend on the class only, so they are the same in all frames.

    Args:
        metadata: metadata of the data set.
        instance_mode: choice of colors, a `ColorMode`.
    """

    def __init__(self, metadata: Any, instance_mode: ColorMode = ColorMode.IMAGE) -> None:
        self.metadata, self._instance_mode = metadata, instance_mode

    def _of(self, frame: NDArray[Any]) -> Visualizer:
        return Visualizer(frame, self.metadata, instance_mode=self._instance_mode)

    def draw_instance_predictions(self, frame: NDArray[Any], predictions: Instances) -> VisImage:
        """Draw the objects of a frame, RGB (H, W, 3)."""
        return self._of(frame).draw_instance_predictions(predictions)

    def draw_sem_seg(self, frame: NDArray[Any], sem_seg: Any, area_threshold: int | None = None) -> VisImage:
        """Draw the class of each pixel of a frame."""
        return self._of(frame).draw_sem_seg(sem_seg, area_threshold)

    def draw_panoptic_seg_predictions(
        self,
        frame: NDArray[Any],
        panoptic_seg: Tensor,
        segments_info: Sequence[Mapping[str, Any]] | None,
        area_threshold: int | None = None,
        alpha: float = 0.5,
    ) -> VisImage:
        """Draw the segments of a frame."""
        return self._of(frame).draw_panoptic_seg(panoptic_seg, segments_info)
