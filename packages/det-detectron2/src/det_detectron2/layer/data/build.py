"""Loaders of a `cfg`, as `detectron2.data.build`."""

import itertools
import logging
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import data

from det_detectron2.layer.config import configurable
from det_detectron2.layer.data.catalog import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.data.common import (
    AspectRatioGroupedDataset,
    DatasetFromList,
    MapDataset,
    ToIterableDataset,
)
from det_detectron2.layer.data.dataset_mapper import DatasetMapper
from det_detectron2.layer.data.detection_utils import check_metadata_consistency
from det_detectron2.layer.data.samplers import (
    InferenceSampler,
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from det_detectron2.layer.structures import BoxMode
from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.env import seed_all_rng
from det_detectron2.layer.utils.file_io import PathManager
from det_detectron2.layer.utils.logger import create_small_table

__all__ = [
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "get_detection_dataset_dicts",
    "load_proposals_into_dataset",
    "print_instances_class_histogram",
]

_Records = list[dict[str, Any]]
_LOG = logging.getLogger(__name__)


def filter_images_with_only_crowd_annotations(dataset_dicts: _Records) -> _Records:
    """Without images that have no annotation beside crowds."""
    retained = [
        each for each in dataset_dicts if any(current.get("iscrowd", 0) == 0 for current in each["annotations"])
    ]
    left_out, total = len(dataset_dicts) - len(retained), len(dataset_dicts)
    _LOG.info("Removed %d images with no usable annotations. %d images left of %d.", left_out, len(retained), total)
    return retained


def filter_images_with_few_keypoints(dataset_dicts: _Records, min_keypoints_per_image: int) -> _Records:
    """Without images that have fewer labelled keypoints."""

    def labelled(record: Mapping[str, Any]) -> int:
        current = [np.array(each["keypoints"][2::3]) > 0 for each in record["annotations"] if "keypoints" in each]
        return int(sum(each.sum() for each in current))

    return [each for each in dataset_dicts if labelled(each) >= min_keypoints_per_image]


def load_proposals_into_dataset(dataset_dicts: _Records, proposal_file: str) -> _Records:
    """Images with the proposals of a file, best first; the file is a pickle of Detectron2 or Detectron.

    Only numbers, text and arrays are read from it: det's reader of untrusted pickles.
    """
    from det_detectron2.proposals import read_proposals

    proposals = read_proposals(PathManager.get_local_path(proposal_file))
    mode = BoxMode(proposals.get("bbox_mode", BoxMode.XYXY_ABS))
    place = {str(name): i for i, name in enumerate(proposals["ids"])}
    for record in dataset_dicts:
        i = place[str(record["image_id"])]
        logits = np.asarray(proposals["objectness_logits"][i])
        order = logits.argsort()[::-1]
        record["proposal_boxes"] = np.asarray(proposals["boxes"][i])[order]
        record["proposal_objectness_logits"] = logits[order]
        record["proposal_bbox_mode"] = mode
    return dataset_dicts


def print_instances_class_histogram(dataset_dicts: _Records, class_names: Sequence[str]) -> None:
    """Log how many objects of each class there are."""
    labels = [
        current["category_id"]
        for each in dataset_dicts
        for current in each["annotations"]
        if not current.get("iscrowd", 0)
    ]
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=len(class_names))
    if len(counts) > len(class_names):
        raise ValueError(f"an annotation has the category_id {len(counts) - 1}, of {len(class_names)} classes")
    table = create_small_table({name: int(count) for name, count in zip(class_names, counts, strict=True)})
    _LOG.info("Distribution of instances among all %d categories:\n%s", len(class_names), table)


def get_detection_dataset_dicts(
    names: str | Sequence[str],
    filter_empty: bool = True,
    min_keypoints: int = 0,
    proposal_files: Sequence[str] | None = None,
    check_consistency: bool = True,
) -> Any:
    """The images of data sets by their names.

    Args:
        names: names of data sets registered in `DatasetCatalog`.
        filter_empty: whether to drop images without objects.
        min_keypoints: minimum number of labelled keypoints per image; images with fewer are dropped.
        proposal_files: proposal file of each data set.
        check_consistency: whether to raise an error if the data sets have different classes.
    """
    names = [names] if isinstance(names, str) else list(names)
    assert names, names
    results = [DatasetCatalog.get(name) for name in names]
    if isinstance(results[0], data.Dataset):
        if len(results) > 1:
            return data.ConcatDataset(results)
        return results[0]
    for name, records in zip(names, results, strict=True):
        assert len(records), f"Dataset '{name}' is empty!"
    if proposal_files:
        assert len(names) == len(proposal_files)
        results = [load_proposals_into_dataset(a, b) for a, b in zip(results, proposal_files, strict=True)]
    joined: _Records = list(itertools.chain.from_iterable(results))
    annotated = "annotations" in joined[0]
    if filter_empty and annotated:
        joined = filter_images_with_only_crowd_annotations(joined)
    if min_keypoints > 0 and annotated:
        joined = filter_images_with_few_keypoints(joined, min_keypoints)
    if check_consistency and annotated:
        classes = MetadataCatalog.get(names[0]).get("thing_classes")
        if classes is not None:
            check_metadata_consistency("thing_classes", names)
            print_instances_class_histogram(joined, classes)
    assert joined, f"No valid data found in {','.join(names)}."
    return joined


def build_batch_data_loader(
    dataset: Any,
    sampler: Any,
    total_batch_size: int,
    *,
    aspect_ratio_grouping: bool = False,
    num_workers: int = 0,
    collate_fn: Callable[..., Any] | None = None,
    drop_last: bool = True,
    single_gpu_batch_size: int | None = None,
    prefetch_factor: int | None = None,
    persistent_workers: bool = False,
    pin_memory: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> Any:
    """Batches of a data set in the order of a sampler; each process has its part of the whole batch.

    Args:
        dataset: map-style or iterable data set; an iterable one determines the order itself.
        sampler: sampler of indices.
        total_batch_size: batch size in images, summed over all processes.
        aspect_ratio_grouping: whether a batch contains only landscape or only portrait images, for less padding.
        num_workers: number of worker processes per loader; 0 loads in the main process.
        collate_fn: function that collates the elements of a batch; None returns them as a list.
        drop_last: whether to drop an incomplete last batch.
        single_gpu_batch_size: batch size in images of this process; replaces `total_batch_size`.
        prefetch_factor: number of batches that each worker loads in advance (`torch.utils.data.DataLoader`).
        persistent_workers: whether workers stay alive between epochs (`torch.utils.data.DataLoader`).
        pin_memory: whether batches are copied to pinned memory (`torch.utils.data.DataLoader`).
        seed: random seed of the workers.
        kwargs: further arguments of `torch.utils.data.DataLoader`.
    """
    batch_size = single_gpu_batch_size or _share(total_batch_size)
    if isinstance(dataset, data.IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    else:
        dataset = ToIterableDataset(dataset, sampler, shard_chunk_size=batch_size)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    common: dict[str, Any] = {
        "num_workers": num_workers,
        "worker_init_fn": worker_init_reset_seed,
        "prefetch_factor": prefetch_factor if num_workers else None,
        "persistent_workers": persistent_workers and num_workers > 0,
        "pin_memory": pin_memory,
        "generator": generator,
        **kwargs,
    }
    if not aspect_ratio_grouping:
        collate = trivial_batch_collator if collate_fn is None else collate_fn
        return data.DataLoader(dataset, batch_size=batch_size, drop_last=drop_last, collate_fn=collate, **common)
    assert drop_last, "Aspect ratio grouping will drop incomplete batches."
    singles = data.DataLoader(dataset, collate_fn=operator.itemgetter(0), **common)
    grouped = AspectRatioGroupedDataset(singles, batch_size)
    return grouped if collate_fn is None else MapDataset(grouped, collate_fn)


def _share(total_batch_size: int) -> int:
    """The images of this process."""
    world = comm.get_world_size()
    ok = total_batch_size > 0 and total_batch_size % world == 0
    assert ok, f"Total batch size ({total_batch_size}) must be divisible by the number of gpus ({world})."
    return total_batch_size // world


def _train_loader_from_config(
    cfg: Any, mapper: Any = None, *, dataset: Any = None, sampler: Any = None
) -> dict[str, Any]:
    current = cfg.DATALOADER
    if dataset is None:
        dataset = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN,
            filter_empty=current.FILTER_EMPTY_ANNOTATIONS,
            min_keypoints=cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0,
            proposal_files=cfg.DATASETS.PROPOSAL_FILES_TRAIN if cfg.MODEL.LOAD_PROPOSALS else None,
        )
    if mapper is None:
        mapper = DatasetMapper(cfg, True)
    if sampler is None and not isinstance(dataset, data.IterableDataset):
        _LOG.info("Using training sampler %s", current.SAMPLER_TRAIN)
        sampler = _training_sampler(current, dataset)
    return {
        "dataset": dataset,
        "sampler": sampler,
        "mapper": mapper,
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "aspect_ratio_grouping": current.ASPECT_RATIO_GROUPING,
        "num_workers": current.NUM_WORKERS,
    }


def _training_sampler(current: Any, dataset: Any) -> Any:
    if current.SAMPLER_TRAIN == "TrainingSampler":
        return TrainingSampler(len(dataset))
    if current.SAMPLER_TRAIN == "RepeatFactorTrainingSampler":
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            dataset, current.REPEAT_THRESHOLD, sqrt=current.get("REPEAT_SQRT", True)
        )
        return RepeatFactorTrainingSampler(factors)
    if current.SAMPLER_TRAIN == "RandomSubsetTrainingSampler":
        return RandomSubsetTrainingSampler(len(dataset), current.RANDOM_SUBSET_RATIO)
    raise ValueError(f"Unknown training sampler: {current.SAMPLER_TRAIN}")


@configurable(from_config=_train_loader_from_config)
def build_detection_train_loader(
    dataset: Any,
    *,
    mapper: Callable[[Any], Any] | None,
    sampler: Any = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
    collate_fn: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Iterable[Any]:
    """An endless loader for training, of a `cfg` or of these arguments.

    Args:
        dataset: list of dataset dicts, or a torch data set.
        mapper: function from a dataset dict to an input of the model, such as `DatasetMapper`.
        sampler: sampler of indices; None for `TrainingSampler`.
        total_batch_size: batch size in images, summed over all processes.
        aspect_ratio_grouping: whether a batch contains only landscape or only portrait images, for less padding.
        num_workers: number of worker processes per loader; 0 loads in the main process.
        collate_fn: function that collates the elements of a batch; None returns them as a list.
        kwargs: further arguments of `build_batch_data_loader`.
    """
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    if mapper is not None:
        dataset = MapDataset(dataset, mapper)
    if isinstance(dataset, data.IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    else:
        sampler = TrainingSampler(len(dataset)) if sampler is None else sampler
        assert isinstance(sampler, data.Sampler), f"Expect a Sampler but got {type(sampler)}"
    loader: Iterable[Any] = build_batch_data_loader(
        dataset,
        sampler,
        total_batch_size,
        aspect_ratio_grouping=aspect_ratio_grouping,
        num_workers=num_workers,
        collate_fn=collate_fn,
        **kwargs,
    )
    return loader


def _test_loader_from_config(cfg: Any, dataset_name: str | Sequence[str], mapper: Any = None) -> dict[str, Any]:
    names = [dataset_name] if isinstance(dataset_name, str) else list(dataset_name)
    files = None
    if cfg.MODEL.LOAD_PROPOSALS:
        tested = list(cfg.DATASETS.TEST)
        files = [cfg.DATASETS.PROPOSAL_FILES_TEST[tested.index(name)] for name in names]
    dataset = get_detection_dataset_dicts(names, filter_empty=False, proposal_files=files)
    plain = isinstance(dataset, data.IterableDataset)
    return {
        "dataset": dataset,
        "mapper": DatasetMapper(cfg, False) if mapper is None else mapper,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
        "sampler": None if plain else InferenceSampler(len(dataset)),
    }


@configurable(from_config=_test_loader_from_config)
def build_detection_test_loader(
    dataset: Any,
    *,
    mapper: Callable[[Any], Any],
    sampler: Any = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[..., Any] | None = None,
) -> Iterable[Any]:
    """A loader that gives each image once, of a `cfg` and a name or of these arguments.

    Args:
        dataset: list of dataset dicts, or a torch data set.
        mapper: function from a dataset dict to an input of the model, such as `DatasetMapper(cfg, is_train=False)`.
        sampler: sampler of indices; None for `InferenceSampler`.
        batch_size: number of images per batch.
        num_workers: number of worker processes per loader; 0 loads in the main process.
        collate_fn: function that collates the elements of a batch; None returns them as a list.
    """
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    if mapper is not None:
        dataset = MapDataset(dataset, mapper)
    if isinstance(dataset, data.IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    elif sampler is None:
        sampler = InferenceSampler(len(dataset))
    return data.DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=False,
        num_workers=num_workers,
        collate_fn=trivial_batch_collator if collate_fn is None else collate_fn,
    )


def trivial_batch_collator(batch: list[Any]) -> list[Any]:
    """The list itself."""
    return batch


def worker_init_reset_seed(worker_id: int) -> None:
    """Seed a worker by the loader's seed and its number."""
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)
