"""Models that take and give what Detectron2's do, as `detectron2.modeling`."""

from det_detectron2.layer.modeling.model import LayerModel, build_model
from det_detectron2.layer.modeling.postprocessing import detector_postprocess, sem_seg_postprocess

__all__ = ["LayerModel", "build_model", "detector_postprocess", "sem_seg_postprocess"]
