"""Predictions at another size, as `detectron2.modeling.postprocessing`."""

from torch import Tensor
from torch.nn import functional as F

from det_detectron2.layer.structures import Instances, ROIMasks

__all__ = ["detector_postprocess", "sem_seg_postprocess"]


def detector_postprocess(
    results: Instances, output_height: int, output_width: int, mask_threshold: float = 0.5
) -> Instances:
    """Detections rescaled to another image size, without those whose boxes become empty.

    Args:
        results: instances with `pred_boxes` or `proposal_boxes`; optional `pred_masks` (N, 1, M, M), `pred_keypoints`.
        output_height: output height in pixels.
        output_width: output width in pixels.
        mask_threshold: minimum probability of mask pixels, in [0, 1].
    """
    size = (int(output_height), int(output_width))
    scale_x, scale_y = size[1] / results.image_size[1], size[0] / results.image_size[0]
    scaled = Instances(size, **results.get_fields())
    name = "pred_boxes" if scaled.has("pred_boxes") else "proposal_boxes"
    boxes = scaled.get(name)
    boxes.scale(scale_x, scale_y)
    boxes.clip(scaled.image_size)
    scaled = scaled[boxes.nonempty()]
    if scaled.has("pred_masks"):
        masks = scaled.pred_masks
        grids = masks if isinstance(masks, ROIMasks) else ROIMasks(masks[:, 0])
        scaled.pred_masks = grids.to_bitmasks(scaled.get(name).tensor, *size, mask_threshold).tensor
    if scaled.has("pred_keypoints"):
        scaled.pred_keypoints[:, :, 0] *= scale_x
        scaled.pred_keypoints[:, :, 1] *= scale_y
    return scaled


def sem_seg_postprocess(result: Tensor, img_size: tuple[int, int], output_height: int, output_width: int) -> Tensor:
    """Class scores (C, H, W) of an image of `img_size` without its padding, at another size: (C, H', W')."""
    inside = result[:, : img_size[0], : img_size[1]].expand(1, -1, -1, -1)
    return F.interpolate(inside, size=(output_height, output_width), mode="bilinear", align_corners=False)[0]
