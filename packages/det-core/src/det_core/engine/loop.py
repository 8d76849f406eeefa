"""The training loop."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from det_core.data import Batch, Data
from det_core.engine.batches import step_batches
from det_core.engine.callbacks.base import Callbacks
from det_core.engine.checkpoint import Checkpoint, read_about, save_checkpoint, save_state
from det_core.engine.distributed import first, local_device
from det_core.engine.interrupt import StopRequest
from det_core.engine.optim import set_learning_rate
from det_core.engine.parallel import Parallel, Processes, model_state
from det_core.engine.progress import Display, Meter, memory_in_use
from det_core.engine.resume import summary_of_data, training_state
from det_core.engine.run import RunFolder
from det_core.engine.sanity_checks import check_validation
from det_core.engine.scalars import Scalars
from det_core.engine.settings import Train, pick_device
from det_core.engine.step import Step, prepare_model
from det_core.engine.validation import Best, Validation
from det_core.errors import CheckpointError, ConfigError, DataError
from det_core.recipes import Recipe

__all__ = ["Outcome", "Trainer"]


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        folder: folder of the run's files.
        step: number of steps trained, over all its parts.
        finished: whether nothing is left to do; False if the run was asked to stop.
        best: the best evaluation on `data.val`, whose weights are in `folder.best`; None if there was none.
        metrics: result of the newest evaluation.
        signal: the number of the signal that stopped the run; None if none did.
    """

    folder: RunFolder
    step: int
    finished: bool
    best: Best | None
    metrics: Mapping[str, float]
    signal: int | None = None


class Trainer:
    """Trains one model; `train` makes one from a recipe.

    Args:
        model: a `Model`; it is moved to the device of `settings`.
        data: data with the split `train`, and `val` if there is something to choose by.
        settings: section `train` of the recipe.
        folder: folder of checkpoints and scalars.
        recipe: resolved, as the checkpoints hold it.
        display: progress display, which also writes messages.
        stop: request to stop, checked after each step.

    Attributes:
        step: number of optimizer steps done.
        position: number of samples drawn from the training set, by all processes.
        saved: the step of the newest checkpoint `last`; -1 if there is none.
        sums: sums of the scalars since the last row.
        validation: evaluations on `data.val`, and the best weights.
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
        self.data, self.settings, self.folder, self.recipe = data, settings, folder, recipe
        self.display, self.stop = display, stop
        self.device = pick_device(local_device(settings.device) or "auto")
        self.processes = Processes(settings.parallel or Parallel(), self.device)
        self.model = prepare_model(model, settings, self.device)
        first(lambda: check_validation(self.model, data, settings))
        self.data_summary = first(lambda: summary_of_data(data))
        self.stepper = Step(self.model, settings, self.device, self.processes)
        self.optimizer, self.schedule = self.stepper.optimizer, settings.schedule(steps=settings.steps)
        self.callbacks = Callbacks([*([settings.ema] if settings.ema else []), *settings.callbacks])
        self.validation = Validation()
        self.step, self.position, self.saved = 0, 0, -1
        self.sums: Counter[str] = Counter()
        self._scalars: Scalars | None = None
        self._ended = False

    def run(self) -> Outcome:
        """Train until all steps are done or a stop is asked for."""
        if self.processes.rank == 0:
            self._scalars = Scalars(self.folder.path, self.step, self.validation.evaluated)
        try:
            self.callbacks.call("on_start", self)
            self._complete_checkpoint()
            self._loop()
        except (DataError, ConfigError):
            # The weights are fine: keep them, so that the run goes on once the cause is removed.
            self._save_if(True)
            if not self.stop:  # Ctrl-C in a terminal also ends the loader's processes, which then is no fault.
                raise
        finally:
            self.callbacks.call("on_end", self)
        finished = self._ended or (self.step == self.settings.steps and not self.validation.due(self))
        best, metrics = self.validation.best, self.validation.metrics
        return Outcome(self.folder, self.step, finished, best, metrics, self.stop.signal)

    def _loop(self) -> None:
        meter, batches = Meter(), step_batches(self.data, self.settings, self.processes, self.position)
        while True:
            with meter.paused():
                stopping, evaluated = self._stopping(), False
                if not stopping and self.validation.due(self):
                    self._save_if(True)
                    evaluated = self.validation(self)
                    stopping = self._stopping()
                self._save_if(stopping or self._ended or self.settings.saves_at(self.step), again=evaluated)
            if stopping or self._ended or self.step == self.settings.steps:
                break
            with meter.waiting():
                batch = next(batches)
            self.sums.update(self.train_step(batch))
            meter.count(sum(map(len, batch)) * self.processes.world_size)
            for reason in (reason for part in batch for reason in part.skipped):
                self.display.write(f"skipped: {reason}")
            row: dict[str, float] = {}
            if self.step % self.settings.log_every == 0 or self.step == self.settings.steps:
                row = {name: total / self.sums["steps"] for name, total in self.sums.items() if name != "steps"}
                row |= {"lr": self.optimizer.param_groups[0]["lr"], **meter.read()}
                row["memory"] = memory_in_use(self.device)
                self.write(row)
                self.sums.clear()
            self.display.advance(self.step, row)

    def train_step(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Learn from the batches of one step; returns its losses, the norm of the gradient, and "steps": 1."""
        set_learning_rate(self.optimizer, self.schedule, self.step)
        self.callbacks.call("before_step", self, batches)
        values = self.stepper.gradients(batches)
        note = f"{self.folder.state} from step {self.saved} is unchanged" if self.saved >= 0 else ""
        self.stepper.require_finite(values, batches, self.step + 1, self.folder.path, note or "nothing was saved yet")
        self.stepper.update()
        self.step, self.position = self.step + 1, batches[-1].position
        self.callbacks.call("after_step", self, values)
        return {**values, "steps": 1}

    def request_stop(self, reason: str) -> None:
        """End the training after the step or evaluation under way; all processes must ask for it."""
        self._ended = True
        self.display.write(f"step {self.step}: {reason}")

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row of scalars, in rank 0."""
        if self._scalars is not None:
            if problem := self._scalars.write(self.step, row):
                self.display.write(problem)
            self.callbacks.call("after_log", self, row)

    def save_weights(self, path: Path) -> None:
        """Write the weights to evaluate as a checkpoint; all processes must call this."""
        with self.callbacks.evaluation_weights(self):
            state = model_state(self.model)
            if self.processes.rank == 0:
                save_checkpoint(path, state, self._about())
        if self.processes.rank == 0:
            self.callbacks.call("after_checkpoint", self, path)

    def _stopping(self) -> bool:
        return self.processes.maximum(int(bool(self.stop)))[0] > 0

    def _save_if(self, condition: bool, again: bool = False) -> None:
        """Write the checkpoint `last`, unless there is one of this step and it need not be written `again`."""
        if not condition or (self.saved == self.step and not again):
            return
        state = training_state(self)
        if self.processes.rank == 0:
            save_state(self.folder.state, state)  # first, so that there are no weights without a state
        self.save_weights(self.folder.last)
        self.saved = self.step
        self.processes.barrier()

    def _complete_checkpoint(self) -> None:
        """Write the weights of the state that was resumed, if a run ended between the writing of the two."""
        if self.step and not first(lambda: self._has_weights_of_state()):
            self.save_weights(self.folder.last)

    def _has_weights_of_state(self) -> bool:
        try:
            last, now = read_about(self.folder.last), self._about()
        except CheckpointError:
            return False
        return last is not None and (last.step, last.metrics) == (now.step, now.metrics)

    def _about(self) -> Checkpoint:
        dataset = self.data.dataset("train")
        return Checkpoint(
            recipe=self.recipe.to_yaml(),
            classes=tuple(dataset.classes),
            category_ids=tuple(getattr(dataset, "category_ids", ())),
            step=self.step,
            metrics=self.validation.metrics if self.validation.evaluated == self.step else {},
            threshold=self.validation.threshold,
            versions=self.recipe.tree["versions"],
        )
