"""Published configurations and weights by name, as `detectron2.model_zoo`."""

import gzip
import json
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from det_core.zoo import published

from det_detectron2.layer.config import CfgNode, get_cfg

__all__ = ["get", "get_checkpoint_url", "get_config", "get_config_file"]


@cache
def _settings() -> dict[str, dict[str, Any]]:
    """What each published configuration changes, by its path without the suffix."""
    packed = resources.files(__name__).joinpath("settings.json.gz").read_bytes()
    settings: dict[str, dict[str, Any]] = json.loads(gzip.decompress(packed))
    return settings


def _name(config_path: str) -> str:
    name = config_path.removesuffix(".yaml").removesuffix(".py")
    if name not in _settings():
        raise RuntimeError(f"{config_path} not available in Model Zoo!")
    return name


def get_checkpoint_url(config_path: str) -> str:
    """Where the trained weights of a configuration are.

    Raises:
        RuntimeError: there is no such configuration, or no weights are published for it.
    """
    model = published.of_recipe(_name(config_path))
    if model is None or model.weights is None:
        raise RuntimeError(f"{config_path} has no pretrained weights in Model Zoo!")
    return str(model.weights)


def get_config_file(config_path: str) -> str:
    """A YAML file with the settings of a configuration, such as "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml".

    It holds all that differs from the defaults, without `_BASE_` files.
    """
    name = _name(config_path)
    tree: dict[str, Any] = {}
    for path, value in _settings()[name].items():
        *folders, last = path.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    file = Path(tempfile.gettempdir()) / "det_detectron2_configs" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{id(tree)}.part")
    part.write_text(yaml.safe_dump(tree, sort_keys=False), "utf-8")
    part.replace(file)
    return str(file)


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
