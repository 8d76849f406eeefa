"""Objects out of trees of calls, as `detectron2.config.instantiate`."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

from det_detectron2.layer.utils.registry import _convert_target_to_string, locate

__all__ = ["dump_dataclass", "instantiate"]


def dump_dataclass(obj: Any) -> dict[str, Any]:
    """A dataclass as the call that makes it."""
    assert dataclasses.is_dataclass(obj), "dump_dataclass() takes an object of a dataclass"
    assert not isinstance(obj, type), "dump_dataclass() takes an object, not a class"
    tree: dict[str, Any] = {"_target_": _convert_target_to_string(type(obj))}
    for field in dataclasses.fields(obj):
        value = getattr(obj, field.name)
        if dataclasses.is_dataclass(value):
            value = dump_dataclass(value)
        elif isinstance(value, list | tuple):
            value = [dump_dataclass(each) if dataclasses.is_dataclass(each) else each for each in value]
        tree[field.name] = value
    return tree


def instantiate(cfg: Any) -> Any:
    """Call what `_target_` names with the other entries, those within first; anything else comes back as it is."""
    if "omegaconf" in sys.modules:  # imported before its objects are made
        from omegaconf import DictConfig, ListConfig, OmegaConf

        if isinstance(cfg, ListConfig):
            return ListConfig([instantiate(each) for each in cfg], flags={"allow_objects": True})
        if isinstance(cfg, DictConfig) and dataclasses.is_dataclass(cfg._metadata.object_type):
            return OmegaConf.to_object(cfg)
    if isinstance(cfg, list):
        return [instantiate(each) for each in cfg]
    if not isinstance(cfg, Mapping) or "_target_" not in cfg:
        return cfg
    arguments = {name: instantiate(value) for name, value in cfg.items() if name != "_target_"}
    target = instantiate(cfg["_target_"])
    called = locate(target) if isinstance(target, str) else target
    assert callable(called), f"_target_ {called} does not define a callable object"
    return called(**arguments)
