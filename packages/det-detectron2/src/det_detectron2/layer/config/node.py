"""`CfgNode` and its defaults, as `detectron2.config.config`."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from det_core.errors import RecipeError
from yacs.config import CfgNode as _Node

from det_detectron2.layer.config.versions import guess_version, upgrade_config

__all__ = ["CfgNode", "get_cfg", "global_cfg", "refuse_pickle", "set_global_cfg"]

_TUPLES = (
    *("DATASETS.TRAIN", "DATASETS.TEST", "DATASETS.PROPOSAL_FILES_TRAIN", "DATASETS.PROPOSAL_FILES_TEST"),
    *("INPUT.MIN_SIZE_TRAIN", "INPUT.CROP.SIZE", "SOLVER.STEPS", "TEST.AUG.MIN_SIZES"),
    *("MODEL.RPN.BBOX_REG_WEIGHTS", "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", "MODEL.RETINANET.BBOX_REG_WEIGHTS"),
    *("MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS", "MODEL.ROI_BOX_CASCADE_HEAD.IOUS"),
)
"""Settings whose default is a tuple; JSON has lists alone."""
_COMPUTED = "COMPUTED_"


def refuse_pickle(file: Path) -> None:
    """Raise RecipeError if a file is a pickle, reading its first bytes alone."""
    if file.is_file():
        with file.open("rb") as stream:
            pickled = stream.read(2) in {b"\x80" + bytes([protocol]) for protocol in range(2, 6)}
        if pickled or file.suffix in (".pkl", ".pickle"):
            fix = "where you trust its author, write pickle.load(open(FILE, 'rb')).dump() to a YAML file"
            raise RecipeError(str(file), "is a pickled configuration, which may run code when it is read", fix=fix)


class CfgNode(_Node):  # type: ignore[misc,unused-ignore]
    """A tree of settings: yacs' node, which also reads `_BASE_` files and files of earlier versions.

    Tags of YAML that would run code are refused, whatever `allow_unsafe` is; tuples and `eval` of numbers are read.
    """

    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        """The tree of a file over those that its `_BASE_` names.

        Raises:
            RecipeError: the file cannot be read, asks for code to be run, or is a pickle.
        """
        from det_detectron2.importer.files import with_bases

        refuse_pickle(Path(filename))
        return with_bases(Path(filename))

    def merge_from_file(self, cfg_filename: str, allow_unsafe: bool = True) -> None:
        """Take the values of a YAML file and its bases; one of an earlier version is brought to this one's.

        Raises:
            KeyError: a setting does not exist.
            RecipeError: the file cannot be read, or asks for code to be run.
        """
        loaded = type(self)(self.load_yaml_with_base(str(cfg_filename)))
        version = loaded.get("VERSION", None)
        if version is None and "VERSION" in self:
            version = guess_version(loaded)
        if "VERSION" not in self or version >= self.VERSION:
            self.merge_from_other_cfg(loaded)
            return
        loaded.VERSION = version
        self.merge_from_other_cfg(upgrade_config(loaded, self.VERSION))

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """The tree as YAML."""
        text: str = super().dump(*args, **kwargs)
        return text

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith(_COMPUTED) and name in self and self[name] != value:
            raise KeyError(f"Computed attributed '{name}' already exists with a different value! Old={self[name]}.")
        super().__setattr__(name, value)


global_cfg = CfgNode()


def get_cfg() -> CfgNode:
    """The defaults of Detectron2 0.6, to be changed."""
    text = resources.files("det_detectron2.importer").joinpath("detectron2_defaults.json").read_text("utf-8")
    tree: dict[str, Any] = {}
    for path, value in json.loads(text).items():
        *folders, name = path.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = tuple(value) if path in _TUPLES else value
    return CfgNode(tree)


def set_global_cfg(cfg: CfgNode) -> None:
    """Let `detectron2.config.global_cfg` be a copy of `cfg`."""
    global_cfg.clear()
    global_cfg.update(cfg)
