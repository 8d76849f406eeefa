"""The training loop: recipe in, checkpoints and numbers out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from det_core.data import Batch, Data
from det_core.engine.checkpoint import Checkpoint, load_state, save_checkpoint, save_state
from det_core.engine.distributed import require_one_process
from det_core.engine.evaluate import autocast, evaluate
from det_core.engine.interrupt import StopRequest
from det_core.engine.optim import build_optimizer, gradient_norm, load_optimizer, set_learning_rate
from det_core.engine.precise_norms import estimate_norms
from det_core.engine.progress import Display, Meter, memory_in_use
from det_core.engine.run import RunFolder, check_classes
from det_core.engine.scalars import Scalars
from det_core.engine.settings import Train, pick_device
from det_core.errors import ConfigError, DataError, TrainingError
from det_core.recipes import Recipe

__all__ = ["Best", "Outcome", "Trainer", "initial_model", "train"]


@dataclass(frozen=True)
class Best:
    """The best evaluation so far."""

    metric: str
    value: float
    step: int

    def beaten_by(self, value: float) -> bool:
        """Whether `value` is better: lower for a loss, higher for all else."""
        return value < self.value if self.metric.startswith("loss") else value > self.value


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        folder: where its files are.
        step: number of steps trained, over all its parts.
        finished: whether nothing is left to do; False if the run was asked to stop.
        best: the best evaluation on `data.val`, whose weights are in `folder.best`; None if there was none.
        metrics: the newest evaluation.
    """

    folder: RunFolder
    step: int
    finished: bool
    best: Best | None
    metrics: Mapping[str, float]


class _StoppedError(Exception):
    """Asked to stop in the middle of an evaluation."""


def train(
    recipe: Recipe,
    output: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Train what `recipe` says, and leave checkpoints, scalars and the resolved recipe in `output`.

    On SIGINT or SIGTERM the step under way is finished and everything that `resume` needs is written.

    Args:
        recipe: with the sections `model`, `data` and `train`, and `weights` if it does not start at random.
        output: the folder of the run.
        resume: go on with the run in `output`; on the CPU bit for bit as if it had not been interrupted.
        overwrite: start again where a run is already.
        console: where progress is shown; None: standard error.

    Raises:
        ConfigError: model and data do not fit together, or this is one of several processes.
        CheckpointError: `output` cannot be used.
        DataError: an image cannot be used, and the recipe does not say to skip it.
        TrainingError: the loss is no longer finite.
    """
    require_one_process("training")
    recipe = recipe.resolved()
    settings, data = recipe.build("train"), recipe.build("data")
    with torch.device("meta"):
        check_classes(recipe.build_model(), data.dataset("train"))
    folder = RunFolder(Path(output))
    changes = folder.admit(recipe, resume, overwrite)
    state = load_state(folder.state) if resume else None
    torch.manual_seed(settings.seed)
    model = recipe.build_model() if resume else initial_model(recipe)
    with StopRequest() as stop, Display(settings.steps, console) as display:
        trainer = Trainer(model, data, settings, folder, recipe, display, stop)
        if state is not None:
            trainer.restore(state)
        folder.open(recipe, resume)
        for change in changes:
            display.say(f"changed since this run began: {change}")
        return trainer.run()


def initial_model(recipe: Recipe) -> nn.Module:
    """The model of a recipe with the weights that it starts from, its section `weights`; at random where it has none.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    model: nn.Module = recipe.build_model()
    if (initial := recipe.build("weights")) is not None:
        initial.load(model)
    return model


class Trainer:
    """Trains one model; `train` makes one from a recipe.

    Args:
        model: a `Model`; it is moved to the device of `settings`.
        data: with `train`, and `val` if there is something to choose by.
        settings: how to train.
        folder: where checkpoints and scalars go.
        recipe: what the checkpoints say they were trained by, resolved.
        display: where progress is shown.
        stop: looked at after each step.

    Attributes:
        step: number of steps done.
        position: number of samples drawn from the training set.
        evaluated: the step of the newest evaluation.
        saved: the step of the newest checkpoint `last`; -1 if there is none.
        best: the best evaluation so far, or None.
        metrics: the newest evaluation.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        settings: Train,
        folder: RunFolder,
        recipe: Recipe,
        display: Display,
        stop: StopRequest,
    ) -> None:
        self.device = pick_device(settings.device)
        self.layout = torch.channels_last if settings.channels_last else torch.preserve_format
        self.model = model.to(self.device).to(memory_format=self.layout).train()
        self.data, self.settings, self.folder, self.recipe = data, settings, folder, recipe
        self.display, self.stop = display, stop
        self.optimizer = build_optimizer(settings.optimizer, self.model, settings.param_groups)
        self.schedule = settings.schedule(steps=settings.steps)
        self.step = self.position = self.evaluated = 0
        self.saved = -1
        self.best: Best | None = None
        self.metrics: Mapping[str, float] = {}
        self._told: set[str] = set()

    def run(self) -> Outcome:
        """Train until all steps are done or a stop is asked for."""
        try:
            self._loop(Scalars(self.folder.path, keep=self.step))
        except (DataError, ConfigError):
            # The weights are fine: keep them, so that the run goes on once the cause is removed.
            self._save_if(True)
            if not self.stop:  # Ctrl-C in a terminal also ends the loader's processes, which then is no fault.
                raise
        finished = self.step == self.settings.steps and not self._evaluation_due()
        return Outcome(self.folder, self.step, finished, self.best, self.metrics)

    def _loop(self, scalars: Scalars) -> None:
        settings = self.settings
        batches = iter(self.data.train_loader(settings.batch_size, settings.seed, start=self.position))
        meter, sums = Meter(), Counter[str]()
        while True:
            with meter.paused():
                if self._evaluation_due():
                    self._evaluate(scalars)
                self._save_if(bool(self.stop) or settings.saves_at(self.step))
            if self.stop or self.step == settings.steps:
                break
            with meter.waiting():
                batch = next(batches)
            sums.update(self.train_step(batch))
            meter.count(len(batch))
            for reason in batch.skipped:
                self.display.say(f"skipped: {reason}")
            row: dict[str, float] = {}
            if self.step % settings.log_every == 0 or self.step == settings.steps:
                row = {name: total / sums["steps"] for name, total in sums.items() if name != "steps"}
                row |= {"lr": self.optimizer.param_groups[0]["lr"], **meter.read()}
                row["memory"] = memory_in_use(self.device)
                scalars.write(self.step, row)
                sums.clear()
            self.display.advance(self.step, row)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Learn from one batch; returns its losses, the norm of the gradient, and "steps": 1."""
        set_learning_rate(self.optimizer, self.schedule, self.step)
        moved = batch.to(self.device, non_blocking=True)
        images = replace(moved.images, pixels=moved.images.pixels.to(memory_format=self.layout))
        with autocast(self.device, self.settings.precision):
            losses: dict[str, Tensor] = self.model(images, moved.targets)
        total = torch.stack([value.float() for value in losses.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = gradient_norm(self.model)
        values = {name: value.item() for name, value in {"loss": total, **losses, "gradient_norm": norm}.items()}
        self._require_finite(values, batch)
        if self.settings.clip_gradients is not None:
            self.settings.clip_gradients(self.model.parameters(), norm)
        self.optimizer.step()
        self.step, self.position = self.step + 1, batch.position
        return {**values, "steps": 1}

    def _require_finite(self, values: Mapping[str, float], batch: Batch) -> None:
        total = torch.tensor(list(values.values()))
        if total.isfinite().all():
            return
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        images = ", ".join(str(path or name) for path, name in zip(batch.paths, batch.ids, strict=True))
        kept = (
            f"{self.folder.state} from step {self.saved} is unchanged" if self.saved >= 0 else "nothing was saved yet"
        )
        fix = (
            "look at these images and their boxes, lower train.optimizer.lr, lengthen the warmup, or set clip_gradients"
        )
        raise TrainingError(
            f"step {self.step + 1}", "loss or gradient is not finite", f"{numbers}; images {images}; {kept}", fix
        )

    def _evaluation_due(self) -> bool:
        due = self.evaluated < self.step and self.settings.evaluates_at(self.step)
        return due and (self.data.val is not None or self.settings.precise_norms is not None)

    def _evaluate(self, scalars: Scalars) -> None:
        """Evaluate on `data.val` and keep the weights if they are the best; gives up quietly when asked to stop."""
        settings = self.settings
        try:
            self._estimate_norms()
        except _StoppedError:
            return
        if self.data.val is None:
            self.evaluated, self.saved = self.step, min(self.saved, self.step - 1)
            return
        loader = self.data.eval_loader("val", settings.evaluate_batch_size or settings.batch_size)
        batches = self._until_stopped(self.display.track(loader, "evaluate"))
        evaluators = self.data.build_evaluators("val")
        try:
            result = evaluate(self.model, batches, evaluators, settings.validation_loss, settings.precision)
        except _StoppedError:
            return
        name = settings.best_metric or next(iter(result.metrics), "")
        if name not in result.metrics:
            found = f"found {', '.join(result.metrics) or 'no metric at all'}"
            fix = "name one of them in train.best_metric, and go on with --resume"
            raise ConfigError("train.best_metric", f"there is no {name!r}", found, fix)
        self.metrics, self.evaluated = result.metrics, self.step
        # The newest checkpoint does not know of this evaluation yet.
        self.saved = min(self.saved, self.step - 1)
        scalars.write(self.step, {f"val/{name}": value for name, value in result.metrics.items()})
        value = result.metrics[name]
        better = self.best is None or self.best.metric != name or self.best.beaten_by(value)
        for note in result.notes:
            if note not in self._told:
                self.display.say(f"evaluation: {note}")
        self._told.update(result.notes)
        self.display.say(f"step {self.step}: {name} {value:.4f}" + (", the best so far" if better else ""))
        if better:
            self.best = Best(name, value, self.step)
            save_checkpoint(self.folder.best, self.model, self._about())

    def _estimate_norms(self) -> None:
        if count := self.settings.precise_norms:
            # The coming batches: whoever resumes here draws the same.
            coming = self.data.train_loader(self.settings.batch_size, self.settings.seed, start=self.position)
            estimate_norms(self.model, self._until_stopped(islice(coming, count)), self.settings.precision)

    def _until_stopped(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.stop:
                raise _StoppedError
            yield batch

    def _about(self) -> Checkpoint:
        dataset = self.data.dataset("train")
        return Checkpoint(
            recipe=self.recipe.to_yaml(),
            classes=tuple(dataset.classes),
            category_ids=tuple(getattr(dataset, "category_ids", ())),
            step=self.step,
            metrics=self.metrics if self.evaluated == self.step else {},
            versions=self.recipe.tree["versions"],
        )

    def _save_if(self, wanted: bool) -> None:
        """Write the checkpoint `last`, unless what is written is as new."""
        if not wanted or self.saved == self.step:
            return
        save_checkpoint(self.folder.last, self.model, self._about())
        state: dict[str, Any] = {
            "step": self.step,
            "position": self.position,
            "evaluated": self.evaluated,
            "best": self.best and asdict(self.best),
            "metrics": dict(self.metrics),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.device.type != "cpu":
            state["device_random"] = torch.get_device_module(self.device).get_rng_state(self.device)
        save_state(self.folder.state, state)
        self.saved = self.step

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what was saved."""
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.step = self.saved = state["step"]
        self.position, self.evaluated, self.metrics = state["position"], state["evaluated"], state["metrics"]
        self.best = state["best"] and Best(**state["best"])
        torch.set_rng_state(state["random"])
        if self.device.type != "cpu" and "device_random" in state:
            torch.get_device_module(self.device).set_rng_state(state["device_random"], self.device)
