"""The state of a resumed run, and changes since it was written."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from det_core.contracts import Dataset, Indexed
from det_core.data import Data
from det_core.engine.optim import load_optimizer
from det_core.engine.parallel import load_sharded, model_state, optimizer_state
from det_core.engine.validation import Best
from det_core.errors import CheckpointError

if TYPE_CHECKING:
    from det_core.engine.callbacks.base import Training

__all__ = ["require_same_classes", "restore", "summary_of_data", "training_state"]

_KEYS = ("step", "position", "evaluated", "best", "metrics", "model", "optimizer", "scalars", "random", "sums", "data")
_NEWER: Mapping[str, Any] = {"scalars": {}, "sums": {}, "data": {}}
"""Keys that states of 0.1.0 lack."""


def training_state(trainer: "Training") -> dict[str, Any]:
    """Everything that `restore` needs; all processes must call this, rank 0 writes it."""
    state: dict[str, Any] = {
        "step": trainer.step,
        "position": trainer.position,
        "evaluated": trainer.validation.evaluated,
        "best": trainer.validation.best and asdict(trainer.validation.best),
        "metrics": dict(trainer.validation.metrics),
        "threshold": trainer.validation.threshold,
        "model": model_state(trainer.model),
        "scalars": {name: buffer.clone() for name, buffer in _scalar_buffers(trainer.model).items()},
        "optimizer": optimizer_state(trainer.model, trainer.optimizer),
        "scaler": trainer.stepper.scaler.state_dict(),
        "callbacks": trainer.callbacks.state_dict(),
        "sums": dict(trainer.sums),
        "data": trainer.data_summary,
        "processes": trainer.processes.world_size,
        "sharded": trainer.settings.sharded,
        "random": torch.get_rng_state(),
    }
    if trainer.device.type != "cpu":
        state["device_random"] = torch.get_device_module(trainer.device).get_rng_state(trainer.device)
    return state


def restore(trainer: "Training", state: Mapping[str, Any]) -> list[str]:
    """Restore a saved state; returns a sentence for each change since.

    Raises:
        CheckpointError: the state is incomplete, beyond the last step, or of other classes or another kind of training.
    """
    where = str(trainer.folder.state)
    if not any(key in state for key in _NEWER):
        state = {**_NEWER, **state}
    if missing := [key for key in _KEYS if key not in state]:
        fix = "start again with --overwrite, or go on from the weights of best.safetensors"
        raise CheckpointError(where, "is not the whole state of a training run", f"without {', '.join(missing)}", fix)
    if (done := int(state["step"])) > (steps := trainer.settings.steps):
        fix = f"set train.steps to {done} or more, or start again with --overwrite"
        raise CheckpointError(where, f"is of step {done}, beyond the {steps} of this run", fix=fix)
    if state["data"]:
        require_same_classes(where, state["data"], trainer.data_summary)
    if state.get("sharded", False) != trainer.settings.sharded:
        fix = "go on with train.parallel.shard as it was"
        raise CheckpointError(where, "cannot go on with weights sharded in another way", fix=fix)
    try:
        if trainer.settings.sharded:
            load_sharded(trainer.model, trainer.optimizer, dict(state))
        else:
            trainer.model.load_state_dict(state["model"])
            load_optimizer(trainer.optimizer, state["optimizer"])
        if state.get("scaler"):
            trainer.stepper.scaler.load_state_dict(state["scaler"])
        for name, buffer in _scalar_buffers(trainer.model).items():
            buffer.copy_(state["scalars"][name] if state["scalars"] else buffer)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        detail = str(error).partition("\n")[0]
        raise CheckpointError(where, "does not fit the model or its optimizer", detail) from error
    notes = trainer.callbacks.load_state_dict(state.get("callbacks", ()))
    trainer.step = trainer.saved = state["step"]
    trainer.position, trainer.sums = state["position"], Counter(state["sums"])
    validation = trainer.validation
    validation.evaluated, validation.metrics = state["evaluated"], state["metrics"]
    validation.threshold = state.get("threshold")
    validation.best = state["best"] and Best(**state["best"])
    torch.set_rng_state(state["random"])
    if trainer.device.type != "cpu" and "device_random" in state:
        torch.get_device_module(trainer.device).set_rng_state(state["device_random"], trainer.device)
    return [*_changed(state, trainer), *notes]


def _scalar_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Numbers that a model keeps outside its state dict, such as moving averages that losses are divided by."""
    names = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name not in names and buffer.ndim == 0}


def _changed(state: Mapping[str, Any], trainer: "Training") -> list[str]:
    before, now = state.get("processes", 1), trainer.processes.world_size
    changes = [f"processes: {before} -> {now}"] if before != now else []
    for split, saved in state["data"].items():
        current = trainer.data_summary.get(split)
        if current is None or saved == current:
            continue
        what = "holds other images or objects"
        if saved["images"] != current["images"]:
            what = f"holds {current['images']} images, it held {saved['images']}"
        order = "; the order of the images is a new one from here on" if split == "train" else ""
        changes.append(f"data.{split} {what}{order}")
    return changes


def summary_of_data(data: Data) -> dict[str, dict[str, Any]]:
    """Split -> classes, number of images and a fingerprint of the index, as far as known without reading images."""
    splits = ["train"] if data.val is None else ["train", "val"]
    return {split: _summary(data.dataset(split)) for split in splits}  # type: ignore[arg-type]


def _summary(dataset: Dataset) -> dict[str, Any]:
    digest = hashlib.sha256()
    path = getattr(dataset, "path", None)
    for index in range(len(dataset)):
        name = getattr(path(index), "name", str(index)) if callable(path) else str(index)
        labels = tuple(map(int, dataset.labels_of(index))) if isinstance(dataset, Indexed) else ()
        digest.update(f"{name}{labels}\n".encode(errors="surrogateescape"))
    return {"classes": list(dataset.classes), "images": len(dataset), "fingerprint": digest.hexdigest()}


def require_same_classes(where: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise CheckpointError if the labels of the training data are of other classes than before."""
    was, are = (list(each.get("train", {}).get("classes", ())) for each in (before, now))
    if was != are:
        pairs = [f"{number}: {a!r} -> {b!r}" for number, (a, b) in enumerate(zip(was, are, strict=False)) if a != b]
        detail = ", ".join(pairs[:5]) or f"{len(was)} classes -> {len(are)}"
        fix = "restore the annotations, or start another run in another folder"
        raise CheckpointError(where, "was trained on other classes", detail, fix)
