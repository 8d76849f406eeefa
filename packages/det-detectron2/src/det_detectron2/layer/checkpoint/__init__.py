"""Weight files, as `detectron2.checkpoint`."""

import logging
from pathlib import Path
from typing import Any

import torch
from det_core import weights
from det_core.errors import WeightsError
from det_core.weights.loading import load_into
from torch import nn

__all__ = ["DetectionCheckpointer"]


class DetectionCheckpointer:
    """Loads published weights and those of training runs, and saves `.pth` files that Detectron2 reads.

    Args:
        model: of `build_model`, or any module.
        save_dir: the folder for what `save` writes.
        save_to_disk: whether `save` writes; None for in rank 0 alone.
        checkpointables: what else has a state, such as an optimizer, by its name in the file.
    """

    def __init__(
        self, model: nn.Module, save_dir: str = "", *, save_to_disk: bool | None = None, **checkpointables: Any
    ) -> None:
        self.model, self.save_dir, self.checkpointables = model, save_dir, checkpointables
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        self.save_to_disk = rank == 0 if save_to_disk is None else save_to_disk

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
        (folder / "last_checkpoint").write_text(f"{name}.pth", "utf-8")

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Put the weights of a file or address into the model; "" loads nothing.

        Weights that are missing or of another shape keep their initial values, as in Detectron2, and are reported as a
        warning; a file of a backbone alone is put into the backbone.

        Args:
            path: `.pth`, `.pkl` or `.safetensors`; "detectron2://..." and other addresses are downloaded once.
            checkpointables: whose states to load beside the weights; None for all that the file has.
        """
        if not path:
            return {}
        state = weights.read(path)
        model = getattr(self.model, "det_model", self.model)
        try:
            report = load_into(model, state, where=str(path), by_shape=True)
        except WeightsError:
            backbone = getattr(model, "backbone", None)
            if backbone is None:
                raise
            report = load_into(getattr(backbone, "bottom_up", backbone), state, where=str(path), by_shape=True)
        if report.kept or report.unused:
            logging.getLogger(__name__).warning("%s", report)
        return {"model": state}

    def has_checkpoint(self) -> bool:
        """Whether `save` wrote a file in the folder before."""
        return (Path(self.save_dir) / "last_checkpoint").is_file()

    def get_checkpoint_file(self) -> str:
        """The file that `save` wrote last; "" if there is none."""
        place = Path(self.save_dir) / "last_checkpoint"
        return str(Path(self.save_dir) / place.read_text("utf-8").strip()) if place.is_file() else ""

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """`load` the file that `save` wrote last, if there is one and `resume`; else `path`."""
        if resume and self.has_checkpoint():
            return self.load(self.get_checkpoint_file())
        return self.load(path, checkpointables=[])
