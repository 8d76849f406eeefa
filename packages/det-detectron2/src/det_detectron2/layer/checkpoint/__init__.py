"""Weight files, as `detectron2.checkpoint`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from det_core.errors import WeightsError
from fvcore.common.checkpoint import Checkpointer, PeriodicCheckpointer
from torch import nn

from det_detectron2.layer.utils.file_io import PathManager

__all__ = ["Checkpointer", "DetectionCheckpointer", "PeriodicCheckpointer"]


class DetectionCheckpointer(Checkpointer):  # type: ignore[misc,unused-ignore]
    """Loads published weights and those of training runs, and saves `.pth` files that Detectron2 reads.

    Args:
        model: model from `build_model`, or any `nn.Module`.
        save_dir: output folder of `save`.
        save_to_disk: whether `save` writes files; None writes in rank 0 only.
        checkpointables: further objects with a `state_dict`, such as the optimizer, by their name in the file.
    """

    def __init__(
        self, model: nn.Module, save_dir: str = "", *, save_to_disk: bool | None = None, **checkpointables: Any
    ) -> None:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        on = rank == 0 if save_to_disk is None else save_to_disk
        super().__init__(model, save_dir, save_to_disk=on, **checkpointables)
        self.path_manager = PathManager

    def save(self, name: str, **kwargs: Any) -> None:
        """Write NAME.pth with the weights under "model", the states of the others, and `kwargs`."""
        if not (self.save_dir and self.save_to_disk):
            return
        content = {"model": self.model.state_dict(), **{k: v.state_dict() for k, v in self.checkpointables.items()}}
        folder = Path(self.save_dir)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{name}.pth.part"
        torch.save(content | kwargs, part)
        part.replace(folder / f"{name}.pth")
        self.tag_last_checkpoint(f"{name}.pth")

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Put the weights of a file or address into the model; "" loads nothing.

        Weights that are missing or of another shape keep their initial values, as in Detectron2, and are reported as a
        warning; a file of a backbone alone is put into the backbone.

        Args:
            path: `.pth`, `.pkl` or `.safetensors`; "detectron2://..." and other addresses are downloaded once.
            checkpointables: names of states to load in addition to the weights; None loads all states in the file.

        Returns:
            What else the file holds, such as "iteration".
        """
        if not path:
            return {}
        from det_core import weights

        state = weights.read(path)
        self._load_weights(state, path)
        expected = list(self.checkpointables) if checkpointables is None else checkpointables
        # A file that others wrote may hold what only unpickling with code could read: it is read for states alone.
        rest = self._others(path) if expected else {}
        for name in expected:
            if name in rest:
                self.checkpointables[name].load_state_dict(rest.pop(name))
        return {"model": state, **rest}

    def _load_weights(self, state: Mapping[str, Any], path: str) -> None:
        from det_core.weights.loading import load_into

        model: Any = getattr(self.model, "det_model", self.model)
        try:
            report = load_into(model, state, where=str(path), by_shape=True)
        except WeightsError:
            backbone = getattr(model, "backbone", None)
            if backbone is None:
                raise
            report = load_into(getattr(backbone, "bottom_up", backbone), state, where=str(path), by_shape=True)
        if report.not_loaded or report.unused:
            logging.getLogger(__name__).warning("%s", report)

    def _others(self, path: str) -> dict[str, Any]:
        """What a `.pth` file holds beside the weights: numbers, text and tensors."""
        local = PathManager.get_local_path(path)
        if not local.endswith(".pth"):
            return {}
        content = torch.load(local, map_location="cpu", weights_only=True)
        return {name: value for name, value in content.items() if name != "model"} if "model" in content else {}
