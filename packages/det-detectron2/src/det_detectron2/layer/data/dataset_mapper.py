"""Images of a data set as a model takes them, as `detectron2.data.dataset_mapper`."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from det_detectron2.layer.config import configurable
from det_detectron2.layer.data import detection_utils as utils
from det_detectron2.layer.data import transforms as T

__all__ = ["DatasetMapper"]


class DatasetMapper:
    """Reads an image, changes it and its annotations, and makes `Instances` of them.

    Args:
        is_train: whether annotations are read, for training.
        augmentations: augmentations of `detectron2.data.transforms`, applied in order.
        image_format: color format of the image, such as "BGR".
        use_instance_mask: whether to read masks.
        use_keypoint: whether to read keypoints.
        instance_mask_format: representation of masks, "polygon" or "bitmask".
        keypoint_hflip_indices: order of keypoints after a horizontal flip, from `create_keypoint_hflip_indices`.
        precomputed_proposal_topk: number of highest-scoring proposals to keep; None reads no proposals.
        recompute_boxes: whether to compute boxes from the transformed masks.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[Any],
        image_format: str,
        use_instance_mask: bool = False,
        use_keypoint: bool = False,
        instance_mask_format: str = "polygon",
        keypoint_hflip_indices: Any = None,
        precomputed_proposal_topk: int | None = None,
        recompute_boxes: bool = False,
    ) -> None:
        if recompute_boxes:
            assert use_instance_mask, "recompute_boxes requires instance masks"
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.use_instance_mask, self.instance_mask_format = use_instance_mask, instance_mask_format
        self.use_keypoint, self.keypoint_hflip_indices = use_keypoint, keypoint_hflip_indices
        self.proposal_topk, self.recompute_boxes = precomputed_proposal_topk, recompute_boxes
        mode = "training" if is_train else "inference"
        logging.getLogger(__name__).info("[DatasetMapper] Augmentations used in %s: %s", mode, augmentations)

    @classmethod
    def from_config(cls, cfg: Any, is_train: bool = True) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        augmentations = utils.build_augmentation(cfg, is_train)
        recompute = False
        if cfg.INPUT.CROP.ENABLED and is_train:
            augmentations.insert(0, T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
            recompute = cfg.MODEL.MASK_ON
        results = {
            "is_train": is_train,
            "augmentations": augmentations,
            "image_format": cfg.INPUT.FORMAT,
            "use_instance_mask": cfg.MODEL.MASK_ON,
            "instance_mask_format": cfg.INPUT.MASK_FORMAT,
            "use_keypoint": cfg.MODEL.KEYPOINT_ON,
            "recompute_boxes": recompute,
        }
        if cfg.MODEL.KEYPOINT_ON:
            results["keypoint_hflip_indices"] = utils.create_keypoint_hflip_indices(cfg.DATASETS.TRAIN)
        if cfg.MODEL.LOAD_PROPOSALS:
            split = "TRAIN" if is_train else "TEST"
            results["precomputed_proposal_topk"] = cfg.DATASETS[f"PRECOMPUTED_PROPOSAL_TOPK_{split}"]
        return results

    def _transform_annotations(self, dataset_dict: dict[str, Any], transforms: Any, image_shape: Any) -> None:
        for annotation in dataset_dict["annotations"]:
            if not self.use_instance_mask:
                annotation.pop("segmentation", None)
            if not self.use_keypoint:
                annotation.pop("keypoints", None)
        annotations = [
            utils.transform_instance_annotations(
                each, transforms, image_shape, keypoint_hflip_indices=self.keypoint_hflip_indices
            )
            for each in dataset_dict.pop("annotations")
            if each.get("iscrowd", 0) == 0
        ]
        instances = utils.annotations_to_instances(annotations, image_shape, mask_format=self.instance_mask_format)
        if self.recompute_boxes and instances.has("gt_masks"):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        dataset_dict["instances"] = utils.filter_empty_instances(instances)

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """An image of a data set with "image" (C, H, W), and "instances", "sem_seg", "proposals" as there are any."""
        dataset_dict = copy.deepcopy(dataset_dict)
        image = utils.read_image(dataset_dict["file_name"], format=self.image_format)
        utils.check_image_size(dataset_dict, image)
        labels = None
        if "sem_seg_file_name" in dataset_dict:
            labels = utils.read_image(dataset_dict.pop("sem_seg_file_name"), "L").squeeze(2)
        inputs = T.AugInput(image, sem_seg=labels)
        transforms = self.augmentations(inputs)
        image, labels = inputs.image, inputs.sem_seg
        shape = image.shape[:2]
        dataset_dict["image"] = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
        if labels is not None:
            dataset_dict["sem_seg"] = torch.as_tensor(np.array(labels).astype("long"))
        if self.proposal_topk is not None:
            utils.transform_proposals(dataset_dict, shape, transforms, proposal_topk=self.proposal_topk)
        if not self.is_train:
            dataset_dict.pop("annotations", None)
            return dataset_dict
        if "annotations" in dataset_dict:
            self._transform_annotations(dataset_dict, transforms, shape)
        return dataset_dict
