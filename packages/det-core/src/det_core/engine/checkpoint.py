"""Checkpoints: files that are either whole or not there.

A run writes two kinds. `*.safetensors` holds the weights and, as metadata, the recipe, the classes and the metrics, so
that the one file is all that predicting needs. `last.state.pt` holds everything that training needs to go on where it
was; it repeats the weights, so that no crash between two files can leave halves that do not belong together.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from det_safeload.archives import read_archive
from det_safeload.budget import OverBudgetError
from det_safeload.machine import RefusedError
from det_safeload.tensorfiles import require_valid_head
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from det_core.errors import CheckpointError
from det_core.printable import described, quoted

__all__ = ["Checkpoint", "load_state", "read_about", "read_checkpoint", "save_checkpoint", "save_state", "write_whole"]

_KEY = "det"
_RESTART = "start again with --overwrite, or go on from the weights of best.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The metadata of a checkpoint.

    Attributes:
        recipe: the resolved recipe as YAML text.
        classes: the name of each label.
        category_ids: the dataset's own number of each label, for results in its format; empty: the labels themselves.
        step: number of optimizer steps trained so far.
        metrics: metrics of the evaluation at that step; {} without one.
        versions: distribution -> version at the time of writing.
        threshold: the score above which F1 was best in the newest evaluation; None where it is not known.
    """

    recipe: str
    classes: Sequence[str]
    category_ids: Sequence[int] = ()
    step: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    threshold: float | None = None


def save_checkpoint(path: Path, model: nn.Module | Mapping[str, Tensor], about: Checkpoint) -> None:
    """Write the weights, of a model or its state dict, and `about` to one safetensors file, whole or not at all.

    Raises:
        CheckpointError: a weight is not finite, or the disk refuses.
    """
    # Copies, because safetensors refuses tensors that share memory.
    weights = model.state_dict() if isinstance(model, nn.Module) else model
    state = {key: value.detach().cpu().clone().contiguous() for key, value in weights.items()}
    _check_finite(path, state)
    metadata = {_KEY: json.dumps(asdict(about))}
    write_whole(path, lambda temporary: save_file(state, temporary, metadata=metadata))


def read_checkpoint(path: Path | str) -> tuple[Checkpoint, dict[str, Tensor]]:
    """The metadata of a checkpoint, and its weights on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of det.
    """
    with _opened(path) as file:
        about = _about(file, path)
        if about is None:
            fix = "name the recipe of its model, and give this file as the weights"
            raise CheckpointError(str(path), "holds weights, but no recipe to build the model from", fix=fix)
        return about, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)


def read_about(path: Path | str) -> Checkpoint | None:
    """The metadata of a safetensors file; None if it is no checkpoint of det.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return _about(file, path)


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    fix = "copy or download it again, or use another checkpoint of the run"
    try:
        require_valid_head(Path(path))
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise CheckpointError(str(path), "there is no such file") from error
    except OSError as error:
        raise CheckpointError(str(path), "cannot be read", error.strerror or str(error), fix) from error
    except CheckpointError:
        raise
    except Exception as error:  # the library raises many classes at invalid files
        detail = str(error) if isinstance(error, ValueError | SafetensorError) else described(error, 200)
        raise CheckpointError(str(path), "is damaged, or no safetensors file", detail, fix) from error


def _about(file: Any, path: Path | str) -> Checkpoint | None:
    """The metadata of a checkpoint; CheckpointError for other metadata under its key."""
    metadata = file.metadata() or {}
    if _KEY not in metadata:
        return None
    try:
        content = json.loads(metadata[_KEY])
        if not isinstance(content, dict):
            raise ValueError("they are no object")
        for name, check in _FIELDS.items():
            if name in content and not check(content[name]):
                raise ValueError(f"its entry {name!r} is {quoted(content[name])}")
        for name in content:
            if name not in _FIELDS:
                raise ValueError(f"there is no entry {quoted(name)}")
        return Checkpoint(**content)
    except (ValueError, TypeError, RecursionError) as error:
        fix = "it was not written by det, or was changed since: use another checkpoint"
        raise CheckpointError(str(path), "has metadata that are none of det's", described(error), fix) from error


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _whole(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "recipe": lambda value: isinstance(value, str),
    "classes": _texts,
    "category_ids": lambda value: isinstance(value, list) and all(map(_whole, value)),
    "step": _whole,
    "metrics": lambda value: isinstance(value, dict) and all(type(each) in (int, float) for each in value.values()),
    "versions": lambda value: isinstance(value, dict) and _texts(list(value.values())),
    "threshold": lambda value: value is None or (type(value) in (int, float) and 0 <= value <= 1),
}


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a training, tensors and plain values in dicts and lists, whole or not at all."""
    _check_finite(path, state.get("model", {}))

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # an open file, for errors that name their cause
            torch.save(dict(state), file)

    write_whole(path, write)


def load_state(path: Path) -> dict[str, Any]:
    """Read a file of `save_state`, on the CPU; no code of the file is run, and checksums are verified.

    Raises:
        CheckpointError: the file is missing, damaged, or something else.
    """
    try:
        state = read_archive(path)
    except FileNotFoundError as error:
        fix = "start without --resume; a run can be continued once it has written its first checkpoint"
        raise CheckpointError(str(path), "there is nothing to resume from", fix=fix) from error
    except OSError as error:
        raise CheckpointError(str(path), "cannot be read", error.strerror or str(error), _RESTART) from error
    except Exception as error:  # a damaged file can fail in any way, all of them inside the reader
        detail = str(error) if isinstance(error, RefusedError | OverBudgetError) else described(error, 200)
        raise CheckpointError(str(path), "is damaged", detail, _RESTART) from error
    if not isinstance(state, dict) or "step" not in state:
        raise CheckpointError(str(path), "is not the state of a training run", f"found {type(state).__name__}")
    return state


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place of `path` in one move.

    A crash at any moment leaves the old file or the new one, never a part.

    Raises:
        CheckpointError: the folder cannot be written to, or the disk is full.
    """
    with _removed_on_failure(path.with_name(f".{path.name}.{os.getpid()}.tmp")) as temporary:
        try:
            write(temporary)
            temporary.chmod(0o644)  # safetensors writes files that others cannot read
            _flush(temporary)
            temporary.replace(path)
            _flush_folder(path.parent)
        except (OSError, RuntimeError, SafetensorError) as error:
            fix = "free space or choose another folder; the file that was there before is unchanged"
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            raise CheckpointError(str(path), "cannot be written", str(cause), fix) from error


@contextmanager
def _removed_on_failure(temporary: Path) -> Iterator[Path]:
    try:
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut; Windows has no such call and does not need it."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    bad = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        found = f"{len(bad)} of {len(state)} tensors, the first is {bad[0]}"
        fix = "an older checkpoint is left as it was; go on from it with a lower learning rate"
        raise CheckpointError(str(path), "is not written, because weights are not finite", found, fix)
