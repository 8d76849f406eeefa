"""Published configurations and weights by name, as `detectron2.model_zoo`."""

from pathlib import Path
from typing import Any

from det_detectron2.layer.config import CfgNode, get_cfg

__all__ = ["get", "get_checkpoint_url", "get_config", "get_config_file"]


_CONFIGS = Path(__file__).parent / "configs"


def _name(config_path: str) -> str:
    name = config_path.removesuffix(".yaml").removesuffix(".py")
    if not (_CONFIGS / f"{name}.yaml").is_file():
        raise RuntimeError(f"{config_path} not available in Model Zoo!")
    return name


def get_checkpoint_url(config_path: str) -> str:
    """Where the trained weights of a configuration are.

    Raises:
        RuntimeError: there is no such configuration, or no weights are published for it.
    """
    from det_core.zoo import published

    model = published.of_recipe(_name(config_path))
    if model is None or model.weights is None:
        raise RuntimeError(f"{config_path} has no pretrained weights in Model Zoo!")
    return str(model.weights)


def get_config_file(config_path: str) -> str:
    """A YAML file with the settings of a configuration, such as "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml".

    It holds all that differs from the defaults, without `_BASE_` files.
    """
    return str(_CONFIGS / f"{_name(config_path)}.yaml")


def get_config(config_path: str, trained: bool = False) -> CfgNode:
    """The settings of a configuration.

    Args:
        config_path: name of the configuration, such as "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml".
        trained: whether to set MODEL.WEIGHTS to the published trained weights.
    """
    cfg = get_cfg()
    cfg.merge_from_file(get_config_file(config_path))
    if trained:
        cfg.MODEL.WEIGHTS = get_checkpoint_url(config_path)
    return cfg


def get(config_path: str, trained: bool = False, device: str | None = None) -> Any:
    """The model of a configuration, in training mode.

    Args:
        config_path: name of the configuration, such as "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml".
        trained: whether to load the published trained weights instead of the initial weights of the configuration.
        device: device of the model; None for `MODEL.DEVICE`, or the CPU without a GPU.
    """
    import torch

    from det_detectron2.layer.checkpoint import DetectionCheckpointer
    from det_detectron2.layer.modeling import build_model

    cfg = get_config(config_path, trained)
    if device is not None or not torch.cuda.is_available():
        cfg.MODEL.DEVICE = device or "cpu"
    model = build_model(cfg)
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    return model.train()
