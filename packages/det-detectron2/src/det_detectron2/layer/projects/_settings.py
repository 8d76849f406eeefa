"""Settings that plugins add to those of Detectron2."""

from typing import Any

from det_core.errors import MissingExtraError

from det_detectron2.importer.extensions import extensions
from det_detectron2.layer.config import CfgNode

__all__ = ["add_settings"]


def add_settings(cfg: Any, distribution: str) -> None:
    """Add the defaults of a plugin's settings to a `cfg`, where they are not there.

    Raises:
        MissingExtraError: the plugin is not installed.
    """
    plugin = next((each for each in extensions() if each.distribution == distribution), None)
    if plugin is None:
        raise MissingExtraError("detectron2.projects", f"needs {distribution}", fix=f"pip install {distribution}")
    for path, value in plugin.defaults.items():
        *folders, name = path.split(".")
        node = cfg
        for folder in folders:
            if folder not in node:
                node[folder] = CfgNode()
            node = node[folder]
        if name not in node:
            node[name] = value
