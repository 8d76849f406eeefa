"""Features of regions, as `detectron2.layers.roi_align`."""

from torch import Tensor, nn
from torchvision.ops import roi_align

__all__ = ["ROIAlign", "roi_align"]


class ROIAlign(nn.Module):
    """Pools the features of boxes into a grid (He et al., "Mask R-CNN", 2017).

    Args:
        output_size: (height, width) of the grid.
        spatial_scale: scale from box coordinates to feature pixels, 1 / stride.
        sampling_ratio: number of samples per cell and axis; 0 adapts it to the cell size in feature pixels.
        aligned: whether pixel centers are at half-integer coordinates, which removes a shift of half a pixel.
    """

    def __init__(
        self, output_size: int | tuple[int, int], spatial_scale: float, sampling_ratio: int, aligned: bool = True
    ) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Maps (N, C, H, W) and regions (P, 5), image, x0, y0, x1, y1, to (P, C, *output_size)."""
        assert rois.dim() == 2
        assert rois.size(1) == 5
        return roi_align(
            input, rois.to(dtype=input.dtype), self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned
        )

    def extra_repr(self) -> str:
        """The settings."""
        names = ("output_size", "spatial_scale", "sampling_ratio", "aligned")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)
