"""`Data`: the `data` section of a recipe."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from det_core.contracts import Dataset, Evaluator, Sampler
from det_core.data.loading.loader import EvalLoader, OnBadImage, TrainLoader, require_objects
from det_core.data.skipped_entries import LeftOutWarning, left_out_notes
from det_core.data.transforms.geometric import compose
from det_core.errors import ConfigError
from det_core.plugins import registry
from det_core.recipes import Factory

__all__ = ["Data", "Split"]

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Datasets, transforms and loading: the `data` section of a recipe.

    Transforms are those of torchvision.transforms.v2 (`{type: "torchvision.transforms.v2:RandomHorizontalFlip"}`) and
    callables from Sample to Sample, in any mix and order; none leaves the images as they are.

    Args:
        train: the dataset to learn from.
        val: the dataset to choose by.
        test: the dataset to report on.
        train_transforms: applied to each training image, with new random numbers each time.
        eval_transforms: applied to each image before prediction; results are in pixels of the stored image.
        workers: processes that prepare batches; 0 prepares them in the main one.
        on_bad_image: "stop" ends the run at an image that cannot be read, "skip" reports it and goes on.
        evaluators: evaluators of predictions; null for those of the dataset.
        sampler: images of each epoch; null: each once in random order, or the sampler of the dataset.
        aspect_ratio_grouping: whether the images of a training batch are all wider than high or all not, which saves
            padding; the dataset must know its sizes without reading the images.
    """

    train: Factory[Dataset] | None = None
    val: Factory[Dataset] | None = None
    test: Factory[Dataset] | None = None
    train_transforms: Sequence[Any] = ()
    eval_transforms: Sequence[Any] = ()
    workers: int = 2
    on_bad_image: OnBadImage = "stop"
    evaluators: Sequence[Factory[Evaluator]] | None = None
    sampler: Factory[Sampler] | None = None
    aspect_ratio_grouping: bool = False
    _built: dict[str, Dataset] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("train_transforms", "eval_transforms"):
            compose(getattr(self, name), where=name)
        if self.workers < 0:
            raise ConfigError("workers", "must be at least 0", f"got {self.workers}")

    def dataset(self, split: Split) -> Dataset:
        """The dataset of a split, built at the first call; a `LeftOutWarning` counts the entries it leaves out.

        Raises:
            ConfigError: the section does not name it, or its classes are not those of the other splits.
        """
        if split not in self._built:
            factory: Factory[Dataset] | None = getattr(self, split)
            if factory is None:
                fix = f"add it: {split}: {{type: coco, images: FOLDER, annotations: FILE}}, or take another split"
                raise ConfigError(f"data.{split}", "is needed here, but the recipe does not name it", fix=fix)
            dataset = factory()
            for other, earlier in self._built.items():
                if list(dataset.classes) != list(earlier.classes):
                    found = f"{list(dataset.classes)[:8]} and {list(earlier.classes)[:8]}"
                    fix = "choose and order them alike with `classes`"
                    raise ConfigError(f"data.{split}", f"has other classes than data.{other}", found, fix)
            self._built[split] = dataset
            self._report(dataset, split)
        return self._built[split]

    @staticmethod
    def _report(dataset: Dataset, split: Split) -> None:
        """A warning where the dataset holds less than its files; of several processes, from the first alone."""
        if os.environ.get("RANK", "0") == "0" and (notes := left_out_notes(dataset, f"data.{split}")):
            warnings.warn("; ".join(notes), LeftOutWarning, stacklevel=3)

    def train_loader(
        self, batch_size: int, seed: int = 0, start: int = 0, rank: int = 0, world_size: int = 1
    ) -> TrainLoader:
        """Endless batches of the training set; see `TrainLoader`.

        Raises:
            DataError: there is no object to learn from; or, where `val` is named, none to choose the best weights by.
        """
        dataset = self.dataset("train")
        if self.val is not None:
            fix = "name another data.val, or set it to null"
            require_objects(self.dataset("val"), "there is nothing to choose the best weights by", fix)
        dataset_sampler = getattr(dataset, "sampler", lambda seed: None)(seed)
        if self.sampler is not None and dataset_sampler is not None:
            fix = "leave out data.sampler or the weights"
            raise ConfigError("data.sampler", "cannot choose images that data.train draws by weights", fix=fix)
        return TrainLoader(
            dataset=dataset,
            batch_size=batch_size,
            transforms=self.train_transforms,
            workers=self.workers,
            on_bad_image=self.on_bad_image,
            seed=seed,
            start=start,
            rank=rank,
            world_size=world_size,
            sampler=dataset_sampler if self.sampler is None else self.sampler(dataset=dataset, seed=seed),
            aspect_ratio_grouping=self.aspect_ratio_grouping,
        )

    def eval_loader(self, split: Split, batch_size: int, rank: int = 0, world_size: int = 1) -> EvalLoader:
        """One pass over a split; see `EvalLoader`."""
        return EvalLoader(
            dataset=self.dataset(split),
            batch_size=batch_size,
            transforms=self.eval_transforms,
            workers=self.workers,
            on_bad_image=self.on_bad_image,
            rank=rank,
            world_size=world_size,
        )

    def build_evaluators(self, split: Split) -> list[Evaluator]:
        """New evaluators for a split: those of the recipe, else those that its dataset names."""
        dataset = self.dataset(split)
        if self.evaluators is not None:
            factories: Sequence[Factory[Evaluator]] = self.evaluators
        else:
            factories = [Factory(registry.find("evaluators", name).load()) for name in dataset.evaluators]
        return [factory(classes=dataset.classes) for factory in factories]
