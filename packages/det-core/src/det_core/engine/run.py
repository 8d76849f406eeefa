"""The folder of a training run: its files, and checks before its use."""

import glob
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from det_safeload.locks import HeldError, lock

from det_core import recipes
from det_core.errors import CheckpointError, DetError
from det_core.recipes import Recipe
from det_core.recipes.allow_list import DEFAULT

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        path: folder of the run's checkpoints and logs.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, from which the same run starts again."""
        return self.path / "recipe.resolved.yaml"

    @property
    def best(self) -> Path:
        """The checkpoint with the best metric so far."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.safetensors"

    @property
    def state(self) -> Path:
        """The state of the training, from which it resumes."""
        return self.path / "last.state.pt"

    @property
    def newest_good(self) -> Path:
        """The checkpoint to use: the best if there is one, else the last."""
        return self.best if self.best.exists() else self.last

    @property
    def scalars(self) -> Path:
        """Losses, rates and metrics by step; a CSV of the same lies beside it."""
        return self.path / "scalars.jsonl"

    @property
    def environment(self) -> Path:
        """The environments of the run, one per start: versions, devices, command, Git state."""
        return self.path / "environment.json"

    @property
    def console(self) -> Path:
        """The shown lines."""
        return self.path / "console.log"

    def admit(self, recipe: Recipe, resume: bool, overwrite: bool) -> list[str]:
        """Whether a run of `recipe`, resolved, may use the folder; changes nothing there.

        Returns:
            Changes of `recipe` since the run that it resumes, a sentence for each.

        Raises:
            CheckpointError: a run is there and is neither to be resumed nor overwritten; or it is of another model.
        """
        if not resume:
            present = [file.name for file in self._files() if file.exists()]
            if present and not overwrite:
                fix = (
                    "add --resume to go on with it, --overwrite to start again, or choose another folder with --output"
                )
                raise CheckpointError(str(self.path), "holds a run already", f"found {present[0]}", fix)
            return []
        if not self.state.exists():
            # Nothing was saved yet: a first start, or one that was killed early.
            if weights := [file.name for file in (self.best, self.last) if file.exists()]:
                fix = "start in another folder, or with --overwrite; a run in Python can begin with these weights"
                problem = "holds weights, but no state to resume from"
                raise CheckpointError(str(self.path), problem, f"found {weights[0]}, no {self.state.name}", fix)
            return []
        if not self.recipe.exists():
            fix = "start in another folder, or with --overwrite"
            raise CheckpointError(str(self.recipe), "is missing beside the state of a run", fix=fix)
        # Resolved again: an earlier version may have had fewer arguments.
        changes = list(_changes(recipes.load(self.recipe).resolved().tree, recipe.tree, ""))
        for path, was, now in changes:
            if path.partition(".")[0] == "model" or path == "train.optimizer.type":
                fix = "go on with the recipe of that run, or start another run in another folder"
                found = f"{path} was {was!r} and is {now!r}"
                raise CheckpointError(str(self.path), "the run in this folder is of another recipe", found, fix)
        return [f"{path}: {was!r} -> {now!r}" for path, was, now in changes if not path.startswith("versions.")]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is made if need be; the lock of a killed one does not count.

        Raises:
            CheckpointError: another training is using it, or it cannot be made or written to.
        """
        is_new = not self.path.exists()
        try:
            with self._lock():
                yield
        finally:
            if is_new and self.path.exists() and not any(self.path.iterdir()):
                self.path.rmdir()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock(self.path / ".lock"))
            except HeldError as error:
                detail, fix = str(error) or "no more is known", "wait for it to end, or choose another --output"
                raise CheckpointError(str(self.path), "is in use by another training", detail, fix) from error
            except OSError as error:
                raise CheckpointError(str(self.path), "cannot be used as the output folder", str(error)) from error
            yield

    def open(self, recipe: Recipe, resume: bool) -> None:
        """Write the recipe; remove unfinished files and, unless it is resumed, the files of an earlier run.

        Raises:
            CheckpointError: the folder cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in () if resume else self._files():
                file.unlink(missing_ok=True)
            for file in self._files():
                for unfinished in self.path.glob(f".{glob.escape(file.name)}.*"):
                    unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(str(self.path), "cannot be used as the output folder", str(error)) from error
        recipe.save(self.recipe)

    def _files(self) -> tuple[Path, ...]:
        numbers = self.scalars, self.scalars.with_suffix(".csv")
        return self.recipe, self.best, self.last, self.state, *numbers, self.environment, self.console


def _changes(before: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted path, value before, value now) of each leaf that differs; None for an absent one."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            yield from _changes(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif before != now and not (path.endswith(".type") and _is_same_part(before, now)):
        yield path, before, now


def _is_same_part(before: Any, now: Any) -> bool:
    """Whether two names lead to one thing, such as a class and the package that it is also exported by."""
    try:
        first, second = (DEFAULT.component(None, name, "type")[0] for name in (before, now))
    except (DetError, TypeError, AttributeError):
        return False
    return first is second
