"""Prediction on single images, as `detectron2.engine.defaults`."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from det_detectron2.layer.checkpoint import DetectionCheckpointer
from det_detectron2.layer.data import MetadataCatalog
from det_detectron2.layer.data.transforms import ResizeShortestEdge
from det_detectron2.layer.modeling import build_model

__all__ = ["DefaultPredictor"]


class DefaultPredictor:
    """Predicts on one image at a time, resized as for a test.

    Args:
        cfg: the settings; `MODEL.WEIGHTS` is loaded, `INPUT.MIN_SIZE_TEST` and `MAX_SIZE_TEST` give the size.

    Attributes:
        metadata: of the first data set in `DATASETS.TEST`.
        model: what `build_model` gives.
    """

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg.clone() if hasattr(cfg, "clone") else cfg
        self.model = build_model(self.cfg)
        self.model.eval()
        if len(cfg.DATASETS.TEST):
            self.metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
        DetectionCheckpointer(self.model).load(cfg.MODEL.WEIGHTS)
        self.aug = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST)
        self.input_format = cfg.INPUT.FORMAT
        assert self.input_format in ["RGB", "BGR"], self.input_format

    @torch.no_grad()
    def __call__(self, original_image: NDArray[Any]) -> dict[str, Any]:
        """The predictions in the image's own pixels.

        Args:
            original_image: (H, W, 3), values 0 to 255, in BGR order, as OpenCV reads images.
        """
        image = original_image[:, :, ::-1] if self.input_format == "RGB" else original_image
        height, width = original_image.shape[:2]
        resized = self.aug.get_transform(image).apply_image(image)
        tensor = torch.as_tensor(np.ascontiguousarray(resized.astype("float32").transpose(2, 0, 1)))
        outputs: list[dict[str, Any]] = self.model([{"image": tensor, "height": height, "width": width}])
        return outputs[0]
