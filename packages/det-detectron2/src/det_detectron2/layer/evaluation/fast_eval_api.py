"""COCO's metrics, as `detectron2.evaluation.fast_eval_api`; pycocotools' own."""

from pycocotools.cocoeval import COCOeval

__all__ = ["COCOeval_opt"]


class COCOeval_opt(COCOeval):  # type: ignore[misc,unused-ignore] # noqa: N801 (its published name)
    """pycocotools' `COCOeval`; results are equal."""
