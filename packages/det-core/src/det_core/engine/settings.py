"""`Train`: the `train` section of a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from det_core.engine.callbacks.ema import EMA
from det_core.engine.evaluate import Precision
from det_core.engine.optim import ClipGradients, ParamGroups
from det_core.engine.parallel import Parallel
from det_core.engine.schedules import Schedule, WarmupCosine
from det_core.errors import ConfigError
from det_core.recipes import Factory

__all__ = ["Train", "pick_device"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """How to train: the `train` section of a recipe.

    Args:
        steps: number of optimizer steps of the whole training.
        epochs: passes over `data.train`, in place of `steps`; `train` turns them into steps.
        batch_size: images per step, over all processes and accumulated batches.
        accumulate: batches into which the images of a step are divided, one after another, for less memory.
        optimizer: called with `params`, the groups that `param_groups` makes.
        schedule: function from the step to a factor on the learning rate; built with `steps` if it has that argument.
        param_groups: weight decay and rate of normalisation layers and biases.
        clip_gradients: limit on the gradients; null: none.
        precision: "bf16" and "fp16" run the forward pass under autocast, fp16 with scaled losses; the weights stay
            float32.
        channels_last: images and weights in the channels-last memory format on a GPU, too, where it is faster with
            bf16 and fp16; on a CPU weights always have it. The checkpoints are the same.
        compile: let torch.compile translate backbone and heads, at their first call.
        recompute: names of modules, such as "backbone.bottom_up.res[2-5]", whose activations are computed again in the
            backward pass instead of being kept, which saves memory and costs time.
        ema: evaluate and save a moving average of the weights; null: the weights themselves.
        parallel: settings of processes that torchrun starts; null: the defaults of `Parallel`.
        callbacks: parts that accompany the training, see `Callback`.
        evaluate_every: steps between evaluations on `data.val`; null: only after the last step.
        evaluate_batch_size: images per evaluation batch of a process; null: as many as in training.
        validation_loss: evaluations also report the loss on `data.val`, which costs a second forward pass.
        precise_norms: before each evaluation, recompute the running statistics of batch norms over this many batches of
            `data.train`, the next ones; null: they stay moving averages. Frozen norms have none.
        best_metric: the metric that chooses `best.safetensors`, such as "bbox/AP50", or "loss" for the lowest loss on
            `data.val`; null: the first metric of the first evaluator.
        checkpoint_every: steps between checkpoints `last`; null: only after the last step. A run that is stopped by
            Ctrl-C or SIGTERM writes one too.
        log_every: steps between rows of `scalars.csv` and `scalars.jsonl`.
        seed: random seed of everything random: initial values, the order of the images, augmentation, sampling.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best there is.
    """

    steps: int = 0
    epochs: float | None = None
    batch_size: int = 16
    accumulate: int = 1
    optimizer: Factory[torch.optim.Optimizer] = Factory(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4)
    schedule: Factory[Schedule] = Factory(WarmupCosine)
    param_groups: ParamGroups = ParamGroups()
    clip_gradients: ClipGradients | None = None
    precision: Precision = "fp32"
    channels_last: bool = False
    compile: bool = False
    recompute: Sequence[str] = ()
    ema: EMA | None = None
    parallel: Parallel | None = None
    callbacks: Sequence[Any] = ()
    evaluate_every: int | None = None
    evaluate_batch_size: int | None = None
    validation_loss: bool = True
    precise_norms: int | None = None
    best_metric: str | None = None
    checkpoint_every: int | None = 1000
    log_every: int = 20
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.epochs is not None and self.epochs > 0):
            fix = "give train.steps, or train.epochs, a positive number"
            raise ConfigError("train.steps", "needs one length", f"steps {self.steps}, epochs {self.epochs}", fix)
        counts = ("batch_size", "evaluate_every", "evaluate_batch_size", "precise_norms", "checkpoint_every")
        for name in (*counts, "log_every", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"train.{name}", "must be at least 1", f"got {value}")

        if self.sharded and any(isinstance(part, EMA) for part in (self.ema, *self.callbacks)):
            fix = "set train.ema=null, or train.parallel.shard=false"
            raise ConfigError("train.ema", "does not work with sharded weights", fix=fix)

    @property
    def sharded(self) -> bool:
        """Whether the weights are shared out among the processes."""
        return self.parallel is not None and self.parallel.shard

    def local_batch_size(self, world_size: int) -> int:
        """Images of one forward pass of one process.

        Raises:
            ConfigError: the images of a step cannot be divided evenly.
        """
        parts = world_size * self.accumulate
        if self.batch_size % parts:
            found = f"got {self.batch_size} for {world_size} processes and train.accumulate {self.accumulate}"
            fix = f"set train.batch_size to a multiple of {parts}"
            raise ConfigError("train.batch_size", "must divide among processes and accumulated batches", found, fix)
        return self.batch_size // parts

    def evaluates_at(self, step: int) -> bool:
        """Whether an evaluation is due once `step` steps are done."""
        return step == self.steps or (step > 0 and self.evaluate_every is not None and step % self.evaluate_every == 0)

    def saves_at(self, step: int) -> bool:
        """Whether the checkpoint `last` is due once `step` steps are done."""
        return step == self.steps or (
            step > 0 and self.checkpoint_every is not None and step % self.checkpoint_every == 0
        )


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is CUDA, else MPS, else the CPU.

    Raises:
        ConfigError: there is no such device on this machine.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError("device", f"{name!r} cannot be used here", str(error).splitlines()[0], "use cpu") from error
    return device
