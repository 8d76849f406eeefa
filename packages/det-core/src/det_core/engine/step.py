"""One optimizer step: forward, backward and update, at any precision, on one process or many."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from det_core.data import Batch
from det_core.engine.checkpoint import write_whole
from det_core.engine.compilation import compile_networks
from det_core.engine.evaluate import autocast
from det_core.engine.optim import build_optimizer, gradient_norm, matching_names
from det_core.engine.parallel import Processes
from det_core.engine.settings import Train
from det_core.errors import CheckpointError, ConfigError, TrainingError
from det_core.models.cpu_acceleration import accelerate
from det_core.ops.global_batch import global_batch

__all__ = ["Step", "prepare_model"]


def prepare_model(model: nn.Module, settings: Train, device: torch.device) -> nn.Module:
    """`model` itself, on `device`, in the memory layout, recomputed and compiled as `settings` ask; its keys stay.

    Raises:
        ConfigError: a name in `settings.recompute` matches no module.
    """
    model = accelerate(model.to(device).train())
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if settings.recompute:
        names = matching_names([name for name, _ in model.named_modules()], settings.recompute)
        if not names:
            found = f"got {', '.join(settings.recompute)}"
            raise ConfigError("train.recompute", "matches no module of the model", found)
        for name in names:
            module = model.get_submodule(name)
            module.forward = partial(_recomputed, module, module.forward)
    if settings.compile:
        compile_networks(model)
    return model


def _recomputed(module: nn.Module, forward: Any, *arguments: Any) -> Any:
    """`forward`, whose inner activations are computed again in the backward pass instead of being kept."""
    if not (module.training and torch.is_grad_enabled()):
        return forward(*arguments)
    return checkpoint(forward, *arguments, use_reentrant=False)


class Step:
    """Computes gradients and updates the weights.

    Args:
        model: `Model` on its device, prepared for training.
        settings: section `train` of the recipe.
        device: torch device of the model.
        processes: group of processes that train together.
    """

    def __init__(self, model: nn.Module, settings: Train, device: torch.device, processes: Processes) -> None:
        self.model, self.settings, self.device, self.processes = model, settings, device, processes
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.wrapped = processes.wrap(model)
        self.optimizer = build_optimizer(settings.optimizer, model, settings.param_groups)
        self._norm = torch.zeros(())

    def rewrap(self) -> None:
        """Follow a change of which parameters are trained."""
        self.wrapped = self.processes.wrap(self.model)

    def gradients(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Set the gradients to those of the mean loss of `batches`; returns losses and "gradient_norm".

        All are means over the batches of all processes.

        Raises:
            TrainingError: the memory does not suffice.
        """
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(batches, start=1):
            losses = self._backward(batch, 1 / len(batches), last=number == len(batches))
            sums = {name: sums[name] + value if sums else value for name, value in losses.items()}
        self.processes.require_gradients(self.model)
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
        self._norm = gradient_norm(self.model)
        names = [name for name in sums if name != "loss"]
        vector = torch.stack([sums["loss"], *(sums[name] for name in names), self._norm.to(sums["loss"])])
        values = self.processes.mean(vector).tolist()
        return dict(zip(["loss", *names, "gradient_norm"], values, strict=True))

    def _backward(self, batch: Batch, share: float, last: bool) -> dict[str, Tensor]:
        keys = [(self.settings.seed, position) for position in batch.positions]
        layout = torch.channels_last if self.settings.channels_last else torch.preserve_format
        try:
            moved = batch.to(self.device, non_blocking=True)
            images = replace(moved.images, pixels=moved.images.pixels.to(memory_format=layout))
            with ExitStack() as stack:
                if not last:
                    stack.enter_context(self.processes.no_sync(self.wrapped))
                with (
                    autocast(self.device, self.settings.precision),
                    global_batch(keys, self.device, self.processes.group, self.settings.accumulate),
                ):
                    losses: dict[str, Tensor] = self.wrapped(images, moved.targets)
                total = torch.stack([value.float() for value in losses.values()]).sum()
                self.scaler.scale(total if share == 1 else total * share).backward()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise _out_of_memory(batch, self.settings, error) from error
            raise
        return {name: value.detach().float() * share for name, value in {"loss": total, **losses}.items()}

    def update(self) -> None:
        """Clip the gradients and change the weights; fp16 leaves a step out whose scaled gradients overflowed."""
        if self.settings.clip_gradients is not None:
            self.settings.clip_gradients(self.model.parameters(), self._norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()

    def require_finite(
        self, values: Mapping[str, float], batches: Sequence[Batch], step: int, folder: Path, note: str
    ) -> None:
        """Keep the batches in `folder` and raise TrainingError if a loss or the gradient is not finite.

        The scaled gradient of fp16 may overflow; such a step is left out.

        Args:
            values: losses by name, and "gradient_norm".
            batches: batches of this process in this step.
            step: the number of the step.
            folder: folder for `bad_batch.pt`, which `torch.load` reads.
            note: sentence about saved checkpoints, for the message.
        """
        scaled = self.scaler.is_enabled()
        checked = [value for name, value in values.items() if not (scaled and name == "gradient_norm")]
        if torch.tensor(checked).isfinite().all():
            return
        keep = folder / f"bad_batch{self.processes.rank or ''}.pt"
        content = {"step": step, "losses": dict(values), "batches": [_plain(batch) for batch in batches]}
        try:
            write_whole(keep, lambda temporary: torch.save(content, temporary))
        except CheckpointError as error:
            note = f"{error}; {note}"
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        images = ", ".join(str(p or i) for b in batches for p, i in zip(b.paths, b.ids, strict=True))
        fix = (
            f"check these images and their boxes, as {keep} holds them, lower train.optimizer.lr, lengthen the "
            "warmup, or set clip_gradients"
        )
        found = f"{numbers}; images {images}; {note}"
        raise TrainingError(f"step {step}", "loss or gradient is not finite", found, fix)


def _plain(batch: Batch) -> dict[str, Any]:
    """A batch as tensors and plain values."""
    targets = batch.targets or ()
    objects = {"boxes": [each.boxes for each in targets], "labels": [each.labels for each in targets]}
    return {"pixels": batch.images.pixels, "sizes": batch.images.sizes, "ids": batch.ids, **objects}


def _out_of_memory(batch: Batch, settings: Train, error: Exception) -> TrainingError:
    height, width = batch.images.pixels.shape[-2:]
    objects = sum(len(targets) for targets in batch.targets or ())
    found = f"{len(batch)} images padded to {height} x {width} with {objects} objects: {str(error).splitlines()[0]}"
    steps = ["lower train.batch_size", f"raise train.accumulate above {settings.accumulate}"]
    if settings.precision == "fp32":
        steps.append("set train.precision to bf16")
    if not settings.recompute:
        steps.append("name modules in train.recompute")
    return TrainingError("memory", "does not suffice for a step", found, ", ".join(steps) + ", or resize to less")
