"""Images and annotations of training, as `detectron2.data.detection_utils`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from det_detectron2.layer.data import transforms as T
from det_detectron2.layer.data.catalog import MetadataCatalog
from det_detectron2.layer.structures import (
    BitMasks,
    Boxes,
    BoxMode,
    Instances,
    Keypoints,
    PolygonMasks,
    RotatedBoxes,
    polygons_to_bitmask,
)
from det_detectron2.layer.utils.file_io import PathManager

__all__ = [
    "SizeMismatchError",
    "annotations_to_instances",
    "annotations_to_instances_rotated",
    "build_augmentation",
    "build_transform_gen",
    "check_image_size",
    "check_metadata_consistency",
    "convert_PIL_to_numpy",
    "convert_image_to_rgb",
    "create_keypoint_hflip_indices",
    "filter_empty_instances",
    "gen_crop_transform_with_instance",
    "get_fed_loss_cls_weights",
    "read_image",
    "transform_instance_annotations",
    "transform_keypoint_annotations",
    "transform_proposals",
]

_Array = NDArray[Any]
_RGB_OF_YUV = np.array([[1.0, 0.0, 1.13983], [1.0, -0.39465, -0.58060], [1.0, 2.03211, 0.0]])
_YUV_OF_RGB = np.array([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]])


class SizeMismatchError(ValueError):
    """A loaded image has another width or height than its annotations give."""


def convert_PIL_to_numpy(image: Image.Image, format: str | None) -> _Array:  # noqa: N802 (its published name)
    """(H, W, C) in a format: "BGR", "YUV-BT.601", "L" with one channel, or a mode of Pillow; None for its own."""
    if format is not None:
        image = image.convert("RGB" if format in ("BGR", "YUV-BT.601") else format)
    values = np.asarray(image)
    if format == "BGR":
        return values[:, :, ::-1]
    if format == "L":
        return np.expand_dims(values, -1)
    if format == "YUV-BT.601":
        yuv: _Array = np.dot(values / 255.0, _YUV_OF_RGB.T)
        return yuv
    return values


def convert_image_to_rgb(image: Any, format: str | None) -> _Array:
    """uint8 RGB (H, W, 3) of an array or tensor in a format."""
    values = image.cpu().numpy() if isinstance(image, torch.Tensor) else image
    if format == "BGR":
        return np.asarray(values[:, :, [2, 1, 0]])
    if format == "YUV-BT.601":
        return np.asarray(np.dot(values, _RGB_OF_YUV.T) * 255.0).astype(np.uint8)
    channel = values[:, :, 0] if format == "L" else values.astype(np.uint8)
    return np.asarray(Image.fromarray(channel, mode=format).convert("RGB"))


def read_image(file_name: str, format: str | None = None) -> _Array:
    """An image as `convert_PIL_to_numpy` gives it, turned as its camera was held.

    Args:
        file_name: path or URL of the image.
        format: color format, such as "BGR"; None keeps that of the file.
    """
    with PathManager.open(file_name, "rb") as file, Image.open(file) as image:
        return convert_PIL_to_numpy(ImageOps.exif_transpose(image), format)


def check_image_size(dataset_dict: dict[str, Any], image: _Array) -> None:
    """Give the image's size where there is none.

    Raises:
        SizeMismatchError: there is another.
    """
    height, width = image.shape[:2]
    if "width" in dataset_dict or "height" in dataset_dict:
        source = (dataset_dict["width"], dataset_dict["height"])
        if source != (width, height):
            where = f" for image {dataset_dict['file_name']}" if "file_name" in dataset_dict else ""
            raise SizeMismatchError(f"Mismatched image shape{where}, got {(width, height)}, expect {source}.")
    dataset_dict.setdefault("width", width)
    dataset_dict.setdefault("height", height)


def transform_proposals(
    dataset_dict: dict[str, Any],
    image_shape: tuple[int, int],
    transforms: Any,
    *,
    proposal_topk: int,
    min_box_size: float = 0,
) -> None:
    """Replace "proposal_boxes" and "proposal_objectness_logits" by "proposals", `Instances` of the changed image."""
    if "proposal_boxes" not in dataset_dict:
        return
    mode = dataset_dict.pop("proposal_bbox_mode")
    corners = BoxMode.convert(dataset_dict.pop("proposal_boxes"), mode, BoxMode.XYXY_ABS)
    boxes = Boxes(transforms.apply_box(corners))
    logits = torch.as_tensor(dataset_dict.pop("proposal_objectness_logits").astype("float32"))
    boxes.clip(image_shape)
    keep = boxes.nonempty(threshold=min_box_size)
    retained = Instances(image_shape, proposal_boxes=boxes[keep][:proposal_topk])
    retained.objectness_logits = logits[keep][:proposal_topk]
    dataset_dict["proposals"] = retained


def get_bbox(annotation: Mapping[str, Any]) -> Any:
    """x0, y0, x1, y1 of an annotation."""
    return BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)


def transform_instance_annotations(
    annotation: dict[str, Any],
    transforms: Any,
    image_size: tuple[int, int],
    *,
    keypoint_hflip_indices: _Array | None = None,
) -> dict[str, Any]:
    """Change the box, the mask and the keypoints of one object, in place.

    Args:
        annotation: annotation of one object in a dataset dict.
        transforms: a transform, or a list of transforms.
        image_size: (height, width) in pixels after the transforms.
        keypoint_hflip_indices: order of keypoints after a horizontal flip, from `create_keypoint_hflip_indices`.
    """
    if isinstance(transforms, tuple | list):
        transforms = T.TransformList(transforms)
    box = transforms.apply_box(np.array([get_bbox(annotation)]))[0].clip(min=0)
    annotation["bbox"] = np.minimum(box, list(image_size + image_size)[::-1])
    annotation["bbox_mode"] = BoxMode.XYXY_ABS
    if "segmentation" in annotation:
        segmentation_ = annotation["segmentation"]
        if isinstance(segmentation_, list):
            rings = [np.asarray(ring).reshape(-1, 2) for ring in segmentation_]
            annotation["segmentation"] = [ring.reshape(-1) for ring in transforms.apply_polygons(rings)]
        elif isinstance(segmentation_, dict):
            mask = transforms.apply_segmentation(coco_mask.decode(segmentation_))
            assert tuple(mask.shape[:2]) == tuple(image_size)
            annotation["segmentation"] = mask
        else:
            raise ValueError(
                f"Cannot transform segmentation of type '{type(segmentation_)}'! Supported types are: polygons as "
                "list[list[float] or ndarray], COCO-style RLE as a dict."
            )
    if "keypoints" in annotation:
        annotation["keypoints"] = transform_keypoint_annotations(
            annotation["keypoints"], transforms, image_size, keypoint_hflip_indices
        )
    return annotation


def transform_keypoint_annotations(
    keypoints: Any, transforms: Any, image_size: tuple[int, int], keypoint_hflip_indices: _Array | None = None
) -> _Array:
    """Keypoints (K, 3) of a changed image; those outside are not labelled, and flips exchange left and right."""
    points = np.asarray(keypoints, dtype="float64").reshape(-1, 3)
    moved = transforms.apply_coords(points[:, :2])
    inside = ((moved >= np.array([0, 0])) & (moved <= np.array(image_size[::-1]))).all(axis=1)
    points[:, :2] = moved
    points[:, 2][~inside] = 0
    flips = sum(isinstance(each, T.HFlipTransform) for each in getattr(transforms, "transforms", [transforms]))
    if flips % 2 == 1 and keypoint_hflip_indices is None:
        raise ValueError("Cannot flip keypoints without providing flip indices!")
    if flips % 2 == 1:
        expected = len(keypoint_hflip_indices)  # type: ignore[arg-type]
        if len(points) != expected:
            raise ValueError(f"Keypoint data has {len(points)} points, but metadata contains {expected} points!")
        points = points[np.asarray(keypoint_hflip_indices, dtype=np.int32)]
    points[points[:, 2] == 0] = 0
    return points


def annotations_to_instances(
    annos: Sequence[Mapping[str, Any]], image_size: tuple[int, int], mask_format: str = "polygon"
) -> Instances:
    """`gt_boxes`, `gt_classes`, `gt_masks` and `gt_keypoints` of the objects of an image.

    Args:
        annos: annotations from `transform_instance_annotations`.
        image_size: (height, width) in pixels.
        mask_format: representation of masks, "polygon" or "bitmask".
    """
    boxes = [BoxMode.convert(each["bbox"], each["bbox_mode"], BoxMode.XYXY_ABS) for each in annos]
    target = Instances(image_size)
    target.gt_boxes = Boxes(np.stack([np.asarray(box) for box in boxes]) if boxes else np.zeros((0, 4)))
    target.gt_classes = torch.tensor([int(each["category_id"]) for each in annos], dtype=torch.int64)
    if len(annos) and "segmentation" in annos[0]:
        segmentations = [each["segmentation"] for each in annos]
        if mask_format == "polygon":
            try:
                target.gt_masks = PolygonMasks(segmentations)
            except ValueError as error:
                fix = "polygons are needed, or INPUT.MASK_FORMAT 'bitmask'"
                raise ValueError(f"Failed to use mask_format=='polygon' from the given annotations: {fix}") from error
        else:
            assert mask_format == "bitmask", mask_format
            masks = [_bitmask(each, image_size) for each in segmentations]
            target.gt_masks = BitMasks(torch.stack([torch.from_numpy(np.array(each)) for each in masks]))
    if len(annos) and "keypoints" in annos[0]:
        target.gt_keypoints = Keypoints(np.array([each["keypoints"] for each in annos]))
    return target


def _bitmask(segmentation_: Any, image_size: tuple[int, int]) -> _Array:
    """(height, width) of polygons, COCO's RLE, or a mask."""
    if isinstance(segmentation_, list):
        return polygons_to_bitmask(segmentation_, *image_size)
    if isinstance(segmentation_, dict):
        return np.asarray(coco_mask.decode(segmentation_))
    if isinstance(segmentation_, np.ndarray):
        assert segmentation_.ndim == 2, f"Expect segmentation of 2 dimensions, got {segmentation_.ndim}."
        return segmentation_
    raise ValueError(
        f"Cannot convert segmentation of type '{type(segmentation_)}' to BitMasks! Supported types are: polygons as "
        "list[list[float] or ndarray], COCO-style RLE as a dict, or a binary segmentation mask in a 2D numpy array."
    )


def annotations_to_instances_rotated(annos: Sequence[Mapping[str, Any]], image_size: tuple[int, int]) -> Instances:
    """`gt_boxes`, rotated, and `gt_classes`; clipped to the image where they are upright."""
    boxes = RotatedBoxes([each["bbox"] for each in annos])
    boxes.clip(image_size)
    labels = torch.tensor([each["category_id"] for each in annos], dtype=torch.int64)
    return Instances(image_size, gt_boxes=boxes, gt_classes=labels)


def filter_empty_instances(
    instances: Instances,
    by_box: bool = True,
    by_mask: bool = True,
    box_threshold: float = 1e-5,
    return_mask: bool = False,
) -> Any:
    """Without those whose box, or mask, is empty; with `return_mask` also which were kept."""
    assert by_box or by_mask
    keep = torch.ones(len(instances), dtype=torch.bool)
    if by_box:
        keep = keep & instances.gt_boxes.nonempty(threshold=box_threshold)
    if instances.has("gt_masks") and by_mask:
        keep = keep & instances.gt_masks.nonempty()
    return (instances[keep], keep) if return_mask else instances[keep]


def create_keypoint_hflip_indices(dataset_names: str | Sequence[str]) -> list[int]:
    """Which keypoint a mirrored image has in the place of each."""
    names = [dataset_names] if isinstance(dataset_names, str) else dataset_names
    check_metadata_consistency("keypoint_names", names)
    check_metadata_consistency("keypoint_flip_map", names)
    metadata = MetadataCatalog.get(names[0])
    mirrored = dict(metadata.keypoint_flip_map)
    mirrored |= {right: left for left, right in mirrored.items()}
    order = list(metadata.keypoint_names)
    return [order.index(mirrored.get(name, name)) for name in order]


def get_fed_loss_cls_weights(dataset_names: str | Sequence[str], freq_weight_power: float = 1.0) -> torch.Tensor:
    """The probability weights of classes by their frequencies, from the metadata's `class_image_count`."""
    names = [dataset_names] if isinstance(dataset_names, str) else dataset_names
    check_metadata_consistency("class_image_count", names)
    counts = sorted(MetadataCatalog.get(names[0]).class_image_count, key=lambda each: each["id"])
    return torch.tensor([each["image_count"] for each in counts]).float() ** freq_weight_power


def gen_crop_transform_with_instance(
    crop_size: tuple[int, int], image_size: tuple[int, int], instance: Mapping[str, Any]
) -> Any:
    """A random part of a size that holds the middle of an object."""
    size = np.asarray(crop_size, dtype=np.int32)
    box = get_bbox(instance)
    middle = (box[1] + box[3]) * 0.5, (box[0] + box[2]) * 0.5
    assert image_size[0] >= middle[0], "The annotation bounding box is outside of the image!"
    assert image_size[1] >= middle[1], "The annotation bounding box is outside of the image!"
    assert image_size[0] >= size[0], "Crop size is larger than image size!"
    assert image_size[1] >= size[1], "Crop size is larger than image size!"
    low = np.maximum(np.floor(middle).astype(np.int32) - size, 0)
    high = np.maximum(np.asarray(image_size, dtype=np.int32) - size, 0)
    high = np.minimum(high, np.ceil(middle).astype(np.int32))
    y0, x0 = (int(np.random.randint(a, b + 1)) for a, b in zip(low, high, strict=True))
    return T.CropTransform(x0, y0, int(size[1]), int(size[0]))


def check_metadata_consistency(key: str, dataset_names: Sequence[str]) -> None:
    """ValueError if data sets have different values of a key of their metadata."""
    if not len(dataset_names):
        return
    logger = logging.getLogger(__name__)
    values = [getattr(MetadataCatalog.get(name), key) for name in dataset_names]
    for name, value in zip(dataset_names, values, strict=True):
        if value != values[0]:
            logger.error("Metadata '%s' of %s is %s, of %s %s", key, name, value, dataset_names[0], values[0])
            raise ValueError(f"Datasets have different metadata '{key}'!")


def build_augmentation(cfg: Any, is_train: bool) -> list[Any]:
    """Resizing, and flips in training, as INPUT has them."""
    current = cfg.INPUT
    sizes, most = (
        (current.MIN_SIZE_TRAIN, current.MAX_SIZE_TRAIN) if is_train else (current.MIN_SIZE_TEST, current.MAX_SIZE_TEST)
    )
    style: Any = current.MIN_SIZE_TRAIN_SAMPLING if is_train else "choice"
    results: list[Any] = [T.ResizeShortestEdge(_sizes(sizes, style), most, style)]
    if is_train and current.RANDOM_FLIP != "none":
        vertical = current.RANDOM_FLIP == "vertical"
        results.append(T.RandomFlip(horizontal=current.RANDOM_FLIP == "horizontal", vertical=vertical))
    return results


def _sizes(sizes: int | Iterable[int], style: str) -> Any:
    if isinstance(sizes, int):
        return [sizes] if style == "choice" else sizes
    return list(sizes)


build_transform_gen = build_augmentation
