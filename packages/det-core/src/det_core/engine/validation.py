"""Evaluations during a training, and the best of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from det_core.data import Batch
from det_core.engine.evaluate import Evaluation, evaluate
from det_core.engine.precise_norms import estimate_norms, live_norms
from det_core.engine.sanity_checks import require_metric

if TYPE_CHECKING:
    from det_core.engine.callbacks.base import Training

__all__ = ["Best", "Validation"]


@dataclass(frozen=True)
class Best:
    """The best evaluation so far."""

    metric: str
    value: float
    step: int

    def beaten_by(self, value: float) -> bool:
        """Whether `value` is better: lower for a loss, higher for all else."""
        return value < self.value if self.metric.startswith("loss") else value > self.value


class _StoppedError(Exception):
    """Asked to stop in the middle of an evaluation."""


class Validation:
    """Evaluates the model of a training on `data.val`, and keeps the weights that do best.

    Attributes:
        evaluated: the step of the newest evaluation.
        best: the best evaluation so far, or None.
        metrics: result of the newest evaluation.
        threshold: the score above which F1 is best in it; None where it is not known.
    """

    def __init__(self) -> None:
        self.evaluated = 0
        self.best: Best | None = None
        self.metrics: Mapping[str, float] = {}
        self.threshold: float | None = None
        self._notes: set[str] = set()

    def due(self, trainer: "Training") -> bool:
        """Whether there is something to evaluate at this step that was not yet."""
        due = self.evaluated < trainer.step and trainer.settings.evaluates_at(trainer.step)
        return due and (trainer.data.val is not None or trainer.settings.precise_norms is not None)

    def __call__(self, trainer: "Training") -> bool:
        """Evaluate, and keep the weights if they are the best; False if it was asked to stop meanwhile."""
        processes, settings = trainer.processes, trainer.settings
        with trainer.callbacks.evaluation_weights(trainer):
            try:
                with processes.gathered(trainer.model):
                    result = self._evaluate(trainer)
            except _StoppedError:
                return False
            self.evaluated = trainer.step
            if result is None:
                return True
            name = require_metric(settings.best_metric, result)
            self.metrics, self.threshold, value = result.metrics, result.threshold, result.metrics[name]
            trainer.write({f"val/{name}": value for name, value in result.metrics.items()})
            better = self.best is None or self.best.metric != name or self.best.beaten_by(value)
            for note in [note for note in result.notes if note not in self._notes]:
                trainer.display.write(f"evaluation: {note}")
            self._notes.update(result.notes)
            trainer.display.write(f"step {trainer.step}: {name} {value:.4f}" + (", the best so far" if better else ""))
            if better:
                self.best = Best(name, value, trainer.step)
                trainer.save_weights(trainer.folder.best)
            trainer.callbacks.call("after_evaluation", trainer, result.metrics)
        return True

    def _evaluate(self, trainer: "Training") -> Evaluation | None:
        """The evaluation, after batch norms were set as the settings ask; None if there is no validation set."""
        settings, processes, data = trainer.settings, trainer.processes, trainer.data
        rank, count = processes.rank, processes.world_size
        # The running statistics of rank 0 are those that are saved.
        processes.share([buffer for norm in live_norms(trainer.model) for buffer in norm.buffers()])
        size = settings.local_batch_size(count)
        if settings.precise_norms is not None:
            # The coming batches: a run resumed here draws the same.
            coming = data.train_loader(size, settings.seed, trainer.position, rank, count)
            batches = _until_stopped(islice(coming, settings.precise_norms * settings.accumulate), trainer)
            estimate_norms(trainer.model, batches, settings.precision)
        if data.val is None:
            return None
        loader = data.eval_loader("val", settings.evaluate_batch_size or size, rank, count)
        batches = _until_stopped(trainer.display.track(loader, "evaluate"), trainer)
        evaluators = data.build_evaluators("val")
        return evaluate(trainer.model, batches, evaluators, settings.validation_loss, settings.precision)


def _until_stopped(batches: Iterable[Batch], trainer: "Training") -> Iterator[Batch]:
    """The batches, until a process is asked to stop; then all of them give up, each after its own batches."""
    for batch in batches:
        if trainer.stop:
            break
        yield batch
    if trainer.processes.any(bool(trainer.stop)):
        raise _StoppedError
