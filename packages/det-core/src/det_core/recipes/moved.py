"""Where parts of earlier versions went: recipes and checkpoints of those name them by their import paths then.

What moved within core is listed here. A plugin that takes over parts of core, or of another plugin, lists them as data
in its module: `MOVED_NAMES = {"det_core.testing": "det_devkit.conformance"}`; by modules, import paths, or qualified
names, which `plugins.registry` follows.
"""

from collections.abc import Mapping

from det_core.plugins import catalog

__all__ = ["MODULES", "current"]

MODULES: Mapping[str, str] = {
    "det_core.builtin": "det_core.plugins.builtin",
    "det_core.class_names": "det_core.zoo.class_names",
    "det_core.config": "det_core.recipes.check",
    "det_core.data.batch": "det_core.data.loading.batch",
    "det_core.data.coco": "det_core.data.formats.coco",
    "det_core.data.crops": "det_core.data.transforms.crops",
    "det_core.data.indexed": "det_core.data.formats.indexed",
    "det_core.data.loader": "det_core.data.loading.loader",
    "det_core.data.samplers": "det_core.data.loading.samplers",
    "det_core.data.settings": "det_core.data.loading.settings",
    "det_core.detector": "det_core.predict.detector",
    "det_core.factory": "det_core.recipes.nodes",
    "det_core.models.anchors": "det_core.models.parts.anchors",
    "det_core.models.box_head": "det_core.models.heads.box",
    "det_core.models.cascade": "det_core.models.heads.cascade",
    "det_core.models.dense": "det_core.models.detectors.dense",
    "det_core.models.dense_head": "det_core.models.heads.dense",
    "det_core.models.families": "det_core.models.detectors.families",
    "det_core.models.fcos": "det_core.models.heads.fcos",
    "det_core.models.federated": "det_core.models.heads.federated",
    "det_core.models.keypoint_head": "det_core.models.heads.keypoint",
    "det_core.models.mask_head": "det_core.models.heads.mask",
    "det_core.models.rcnn": "det_core.models.detectors.rcnn",
    "det_core.models.regions": "det_core.models.heads.regions",
    "det_core.models.res5_heads": "det_core.models.heads.res5",
    "det_core.models.retinanet": "det_core.models.heads.retinanet",
    "det_core.models.roi_heads": "det_core.models.heads.roi",
    "det_core.models.rpn": "det_core.models.heads.rpn",
}


def current(path: str) -> str:
    """The import path of today of what `path`, "module:attribute", meant once; itself where it did not move."""
    module, _, attribute = path.partition(":")
    found = catalog()
    if target := found.moved(path):
        return target
    if module in MODULES:
        return f"{MODULES[module]}:{attribute}"
    return f"{found.moved(module) or module}:{attribute}"
