"""The callback protocol, and the callbacks of a run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from det_core.errors import CheckpointError

if TYPE_CHECKING:
    from det_core.data import Batch

__all__ = ["Callback", "Callbacks", "Training"]

Training = Any
"""A `det_core.engine.Trainer`, whose module imports this one."""


class Callback(Protocol):
    """Accompanies a training; every method is optional, and a class needs no base.

    All are called in every process; `trainer.processes.rank` is 0 in the one that writes files. `trainer` has `model`,
    `optimizer`, `step`, `settings`, `data`, `folder`, `device`, `display`, `validation` and `request_stop`.
    """

    def on_start(self, trainer: Training) -> None:
        """Before the first step of this process, after a resumed state was loaded."""

    def before_step(self, trainer: Training, batches: Sequence["Batch"]) -> None:
        """Before the forward pass of a step, of one batch or of several whose gradients are added up."""

    def after_step(self, trainer: Training, scalars: Mapping[str, float]) -> None:
        """After the weights were updated; `trainer.step` counts the step, `scalars` has its losses."""

    def after_log(self, trainer: Training, scalars: Mapping[str, float]) -> None:
        """After a row of `scalars.csv` was written, in rank 0; names of an evaluation begin with "val/"."""

    def evaluation_weights(self, trainer: Training) -> AbstractContextManager[None]:
        """A context in which the model has the weights to evaluate and to save."""
        return nullcontext()

    def after_evaluation(self, trainer: Training, metrics: Mapping[str, float]) -> None:
        """After an evaluation on `data.val`, within `evaluation_weights`."""

    def after_checkpoint(self, trainer: Training, path: Path) -> None:
        """After the checkpoint at `path` was written, in rank 0."""

    def on_end(self, trainer: Training) -> None:
        """At the end of this process's part of the training, after an error too."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state_dict`; called before `on_start`."""


class Callbacks:
    """All callbacks of a run, in order.

    Args:
        parts: objects with any of the methods of `Callback`.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = tuple(parts)

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of each callback that has it."""
        for part in self.parts:
            if (function := getattr(part, method, None)) is not None:
                function(*arguments)

    @contextmanager
    def evaluation_weights(self, trainer: Training) -> Iterator[None]:
        """The weights to evaluate and to save."""
        with ExitStack() as stack:
            for part in self.parts:
                if (function := getattr(part, "evaluation_weights", None)) is not None:
                    stack.enter_context(function(trainer))
            yield

    def state_dict(self) -> list[tuple[str, dict[str, Any]]]:
        """(class name, state) of each callback."""
        return [(type(part).__name__, dict(getattr(part, "state_dict", dict)())) for part in self.parts]

    def load_state_dict(self, states: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Give each callback its state; returns a note for each that has none, or that is no longer there."""
        waiting = list(states)
        notes = []
        for part in self.parts:
            name = type(part).__name__
            state = next((each for each in waiting if each[0] == name), None)
            if state is None:
                notes.append(f"callback {name} starts from its initial state: the run had none")
                continue
            waiting.remove(state)
            try:
                getattr(part, "load_state_dict", lambda state: None)(state[1])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                found = f"{type(error).__name__}: {error}"
                fix = "go on with the settings that the run began with"
                raise CheckpointError(f"callback {name}", "cannot take its saved state", found, fix) from error
        return [*notes, *(f"callback {name} of the run is no longer there" for name, _ in waiting)]
