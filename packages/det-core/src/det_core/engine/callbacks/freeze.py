"""Weights that are not trained, or not yet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from det_core.engine.optim import matching_names
from det_core.errors import ConfigError

if TYPE_CHECKING:
    from det_core.data import Batch
    from det_core.engine.callbacks.base import Training

__all__ = ["Freeze"]


class Freeze:
    """Keeps modules as they are: their parameters get no gradient, their batch norms use their running statistics.

    Several of them with rising `until` unfreeze a network in stages; a module of two of them is frozen by either.

    Args:
        modules: names of modules, such as "backbone.bottom_up.res[23]" or "backbone.*", with `*`, `?` and `[]` as in
            file names; submodules are frozen too.
        until: the step before which they are frozen; None: always.
    """

    def __init__(self, modules: Sequence[str], until: int | None = None) -> None:
        self.modules, self.until = tuple(modules), until
        self._frozen: list[nn.Module] | None = None
        self._parameters: list[nn.Parameter] = []

    def on_start(self, trainer: "Training") -> None:
        """Freeze."""
        names = matching_names([name for name, _ in trainer.model.named_modules()], self.modules)
        if not names:
            found = (
                f"got {', '.join(self.modules)}; there are {', '.join(n for n, _ in trainer.model.named_children())}"
            )
            raise ConfigError("Freeze.modules", "matches no module of the model", found)
        if self.until is None or trainer.step < self.until:
            frozen = {id(p) for part in _freezing(trainer) for p in part._parameters}
            self._frozen = [trainer.model.get_submodule(name) for name in names]
            unique = {id(p): p for m in self._frozen for p in m.parameters() if p.requires_grad or id(p) in frozen}
            self._parameters = list(unique.values())
            self._set(False)
            trainer.stepper.rewrap()

    def before_step(self, trainer: "Training", batches: Sequence["Batch"]) -> None:
        """Unfreeze at the step."""
        if self._frozen is None or self.until is None or trainer.step < self.until:
            return
        self._set(True)
        self._frozen = None
        for part in _freezing(trainer):
            part._set(False)
        trainer.stepper.rewrap()
        trainer.display.write(f"step {trainer.step}: unfrozen {', '.join(self.modules)}")

    def _set(self, trained: bool) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(trained)
        for module in self._frozen or ():
            module.train(trained)


def _freezing(trainer: "Training") -> list[Freeze]:
    """The callbacks that keep something frozen at this moment."""
    return [part for part in trainer.callbacks.parts if isinstance(part, Freeze) and part._frozen is not None]
