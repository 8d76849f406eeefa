"""Features of rotated regions, as `detectron2.layers.roi_align_rotated`."""

from det_core.ops.roi_rotated import roi_align_rotated as _roi_align_rotated
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

__all__ = ["ROIAlignRotated", "roi_align_rotated"]


def roi_align_rotated(
    input: Tensor, rois: Tensor, output_size: tuple[int, int], spatial_scale: float, sampling_ratio: int
) -> Tensor:
    """Maps (N, C, H, W) and regions (P, 6), image, cx, cy, w, h, angle in degrees, to (P, C, *output_size)."""
    return _roi_align_rotated(input, rois, output_size, spatial_scale, sampling_ratio)


class ROIAlignRotated(nn.Module):
    """Pools the features of rotated boxes into a grid.

    Args:
        output_size: (height, width) of the grid.
        spatial_scale: scale from box coordinates to feature pixels, 1 / stride.
        sampling_ratio: number of samples per cell and axis; 0 adapts it to the cell size in feature pixels.
    """

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float, sampling_ratio: int) -> None:
        super().__init__()
        self.output_size, self.spatial_scale, self.sampling_ratio = _pair(output_size), spatial_scale, sampling_ratio

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Maps (N, C, H, W) and regions (P, 6) to (P, C, *output_size)."""
        assert rois.dim() == 2
        assert rois.size(1) == 6
        return roi_align_rotated(
            input, rois.to(dtype=input.dtype), self.output_size, self.spatial_scale, self.sampling_ratio
        )
