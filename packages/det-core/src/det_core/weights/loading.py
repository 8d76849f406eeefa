"""Puts weights into a model, all of them or none."""

import difflib
import logging
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from torch import Tensor, nn

from det_core.errors import DetWarning, WeightsError
from det_core.printable import printable
from det_core.recipes import Source
from det_core.weights.reading import read
from det_core.weights.upgrades import upgraded

__all__ = ["InitialWeights", "LoadReport", "load_into"]

_MAX_LISTED = 3
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class LoadReport:
    """What became of a weight file.

    Attributes:
        where: file or address of the weights.
        loaded: number of tensors that were put into the model.
        unused: names in the file that had no place.
        not_loaded: names in the model that stayed at their initial values, by `skip` or `by_shape`.
        counters: number of batch-norm counters that one side had and the other did not need.
        upgrades: names of upgrades applied to an older file; see `det_core.weights.upgrades`.
    """

    where: str
    loaded: int
    unused: tuple[str, ...] = ()
    not_loaded: tuple[str, ...] = ()
    counters: int = 0
    upgrades: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.loaded} tensors loaded"]
        if self.unused:
            parts.append(f"{len(self.unused)} in the file have no place: {_some(self.unused)}")
        if self.not_loaded:
            parts.append(f"{len(self.not_loaded)} in the model keep their initial values: {_some(self.not_loaded)}")
        if self.counters:
            parts.append(f"{self.counters} batch-norm counters ({_COUNTER}) passed over")
        if self.upgrades:
            parts.append(f"upgraded: {', '.join(self.upgrades)}")
        return "; ".join(parts)


def load_into(
    model: nn.Module,
    state: Mapping[str, Tensor],
    where: str = "weights",
    *,
    skip: Sequence[str] = (),
    allow_unused: bool = False,
    by_shape: bool = False,
) -> LoadReport:
    """Copy `state` into `model`; both must have the same names and shapes.

    The counters that batch norms keep in training, and frozen or older ones do not, may be missing on either side.
    Infinity is loaded, with a DetWarning; NaN is refused.

    Args:
        model: model on any device; changed in place.
        state: tensors by name of parameter or buffer.
        where: the file they came from, for messages.
        skip: paths of modules or parameters that keep their initial values even if the file has them; "*" stands
            for anything.
        allow_unused: names without a place in the model are reported instead of refused.
        by_shape: whether to report, instead of refusing, tensors of another shape or on one side alone, where the model
            keeps its initial values; half of its tensors must be in the file.

    Raises:
        WeightsError: names or shapes differ, or numbers are NaN; the model is as it was.
    """
    model_state = model.state_dict()
    state, upgrades = upgraded(state, model)
    for path in (path for path in skip if not any(_below(key, [path]) for key in model_state)):
        _require_path(model, path, f"{where}: skip")
    not_loaded = [key for key in model_state if _below(key, skip)]
    expected = {key: value for key, value in model_state.items() if key not in set(not_loaded)}
    file_state = {key: value for key, value in state.items() if not _below(key, skip)}
    counters, missing, unused = _unmatched(expected, file_state)
    file_state |= _scalars(file_state, expected)
    misshapen = [key for key in file_state if key in expected and file_state[key].shape != expected[key].shape]
    if by_shape:
        fresh = {*missing, *misshapen}
        _require_half(expected, fresh, where, type(model).__name__)
        not_loaded += [key for key in expected if key in fresh]
        file_state = {key: value for key, value in file_state.items() if key not in fresh}
        missing, misshapen, allow_unused = [], [], True
    _require_fit(model, expected, file_state, missing, [] if allow_unused and not missing else unused, misshapen, where)
    fitting = {key: value for key, value in file_state.items() if key in expected}
    _check_numbers(fitting, where)
    model.load_state_dict({**model_state, **fitting})
    return LoadReport(where, len(fitting), tuple(unused), tuple(not_loaded), len(counters), tuple(upgrades))


def _unmatched(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[list[str], list[str], list[str]]:
    """Names on one side alone: counters of batch norms, then others of the model, then others of the file."""
    counters = [key for key in expected.keys() ^ state.keys() if key.rpartition(".")[2] == _COUNTER]
    missing = [key for key in expected if key not in state and key not in counters]
    return counters, missing, [key for key in state if key not in expected and key not in counters]


def _scalars(file_state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbers that are stored as a list of one, as torch did long ago and arrays still do, as the model has them."""
    scalars = [key for key in file_state if key in expected and not expected[key].ndim and file_state[key].numel() == 1]
    return {key: file_state[key].reshape(()) for key in scalars}


def _require_fit(
    model: nn.Module,
    expected: Mapping[str, Tensor],
    file_state: Mapping[str, Tensor],
    missing: Sequence[str],
    unused: Sequence[str],
    misshapen: Sequence[str],
    where: str,
) -> None:
    """Refuse weights with names that are missing, without a place, or of another shape; all of them in one message."""
    problems = []
    if missing:
        problems.append(f"{_count(missing, 'tensor')} missing: {_some(_with_near(missing, unused))}")
    if unused:
        problems.append(f"{_count(unused, 'tensor')} without a place: {_some(_with_near(unused, missing))}")
    if misshapen:
        shapes = [f"{k} {tuple(file_state[k].shape)} instead of {tuple(expected[k].shape)}" for k in misshapen]
        problems.append(f"{_count(misshapen, 'tensor')} of another shape: {_some(shapes)}")
    if problems:
        fix = "give the weights of this model; in a recipe, weights.into names their part, weights.skip parts they lack"
        raise WeightsError(where, f"does not fit {type(model).__name__}", "; ".join(problems), fix)


def _require_half(expected: Iterable[str], fresh: Collection[str], where: str, model: str) -> None:
    """Refuse weights of which less than half of a model is filled; counters of batch norms do not count."""
    weights = [key for key in expected if key.rpartition(".")[2] != _COUNTER]
    if 2 * len(fresh) > len(weights):
        found = f"{len(weights) - len(fresh)} of {len(weights)} tensors have the name and shape of one in the file"
        fix = "give the weights of such a model; in a recipe, weights.into names their part"
        raise WeightsError(where, f"does not fit {model}", found, fix)


class InitialWeights:
    """The weights that a model starts from: the `weights` section of a recipe.

    Args:
        source: a weight file: a local path, https://..., hf://owner/repository/file, or, as Detectron2 calls them,
            detectron2://... and catalog://...
        into: the part of the model that they are for, such as "backbone.bottom_up"; "" for the whole. What the file has
            beyond that part, such as a classifier, is reported and left out; what the part needs must be there.
        also: parts elsewhere in the model, which the file has under their last names: "roi_heads.res5" takes what it
            calls "res5".
        skip: paths of modules or parameters in that part that start at random all the same, such as
            "roi_heads.box_predictor" where the classes differ; "*" stands for anything, as in "*.conv2_offset".
        match: "exact": all else must be in the file, and of the same shape; "shapes": what is not starts at random and
            is reported, as Detectron2 does, so that a model learns other classes than those of the weights.
    """

    def __init__(
        self,
        source: Source,
        into: str = "",
        also: Sequence[str] = (),
        skip: Sequence[str] = (),
        match: Literal["exact", "shapes"] = "exact",
    ) -> None:
        self.source, self.into, self.also, self.skip = source, into, tuple(also), tuple(skip)
        self.match = match

    def load(self, model: nn.Module) -> LoadReport:
        """Read the file and put it into `model`; anything that was passed over is also logged, as a warning.

        Raises:
            WeightsError: the file cannot be read, or does not fit; the model is as it was.
        """
        part = _require_path(model, self.into, "weights.into")
        if self.also:
            joined = nn.Module()
            for name, child in part.named_children():
                joined.add_module(name, child)
            for path in self.also:
                joined.add_module(path.rpartition(".")[2], _require_path(model, path, "weights.also"))
            part = joined
        state, by_shape = read(self.source), self.match == "shapes"
        where, unused = str(self.source), bool(self.into)
        report = load_into(part, state, where, skip=self.skip, allow_unused=unused, by_shape=by_shape)
        if report.unused or report.not_loaded:
            logging.getLogger(__name__).warning("%s", printable(str(report), 3000))
        return report


def _check_numbers(state: Mapping[str, Tensor], where: str) -> None:
    """Refuse NaN, and warn of infinity."""
    odd = [key for key, value in state.items() if not value.is_meta and not value.isfinite().all()]
    if with_nan := [key for key in odd if state[key].isnan().any()]:
        fix = "take weights from before training diverged"
        found = f"{_count(with_nan, 'tensor')} with NaN: {_some(with_nan)}"
        raise WeightsError(where, "contains NaN", found, fix)
    if odd:
        found = f"{_count(odd, 'tensor')}: {_some(odd)}"
        fix = "such a model may find nothing: get the file again, or one from before its training went wrong"
        warnings.warn(f"{where}: holds infinity in {found}; {fix}", DetWarning, stacklevel=3)


def _require_path(model: nn.Module, path: str, where: str) -> nn.Module:
    """The part at a path; of those that a pattern with "*" means, the first."""
    try:
        if "*" not in path:
            return model.get_submodule(path)
        return next(module for name, module in model.named_modules() if fnmatchcase(name, path))
    except (AttributeError, StopIteration):
        names = [name for name, _ in model.named_modules() if name]
        near = difflib.get_close_matches(path, names, 1)
        fix = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(n for n, _ in model.named_children())}"
        raise WeightsError(where, f"{type(model).__name__} has no part {path!r}", fix=fix) from None


def _below(key: str, paths: Iterable[str]) -> bool:
    return any(fnmatchcase(key, path) or fnmatchcase(key, f"{path}.*") for path in paths)


def _count(keys: Sequence[str], noun: str) -> str:
    return f"{len(keys)} {noun}{'s' if len(keys) > 1 else ''}"


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_MAX_LISTED]) + (f" and {len(keys) - _MAX_LISTED} more" if len(keys) > _MAX_LISTED else "")


def _with_near(keys: Sequence[str], others: Sequence[str]) -> list[str]:
    """The first keys, each with the most similar name on the other side."""
    named = []
    for key in keys[:_MAX_LISTED]:
        near = difflib.get_close_matches(key, others, 1, cutoff=0.8)
        named.append(f"{key} (near {near[0]})" if near else key)
    return [*named, *keys[_MAX_LISTED:]]
