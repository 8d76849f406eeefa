"""A training through `DefaultTrainer` and det's own training of the recipe that the same settings become."""

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from det_core import recipes
from det_core.data.loading.samplers import ShuffleSampler, Stream
from det_core.engine import train
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.layer.data import MetadataCatalog, build_detection_train_loader, get_detection_dataset_dicts
from det_detectron2.layer.engine import DefaultTrainer, HookBase
from det_detectron2.layer.modeling.model import flat_settings
from layer_programs import small_cfg

LOSSES = ("loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg")


class _Order(torch.utils.data.Sampler[int]):
    """The order of images of det's own training with this seed."""

    def __init__(self, images: int, seed: int) -> None:
        self._stream = Stream(ShuffleSampler(range(images), seed))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        return (self._stream(position, 0) for position in count())


class _Record(HookBase):
    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def after_step(self) -> None:
        """Keep the losses."""
        newest = self.trainer.storage.latest()
        self.rows.append([newest[name][0] for name in LOSSES])


class _Trainer(DefaultTrainer):
    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        """The usual one, in det's order."""
        images = len(get_detection_dataset_dicts(cfg.DATASETS.TRAIN))
        return build_detection_train_loader(cfg, sampler=_Order(images, cfg.SEED))

    def build_hooks(self) -> list[HookBase | None]:
        """The schedule of the learning rate, and the record."""
        self.record = _Record()
        return [super().build_hooks()[1], self.record]


def _by_layer(cfg: Any) -> torch.Tensor:
    trainer = _Trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    return torch.tensor(trainer.record.rows, dtype=torch.float64)


class _Rows:
    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def after_step(self, trainer: Any, scalars: Any) -> None:
        """Keep the losses."""
        self.rows.append([scalars[name] for name in LOSSES])


def _by_det(cfg: Any, output: Path) -> torch.Tensor:
    tree = recipe_from_settings(flat_settings(cfg)).tree
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    tree["data"]["train"] = {"type": "coco", "images": metadata.image_root, "annotations": metadata.json_file}
    rows = _Rows()
    train(recipes.recipe_from_tree(tree), output, callbacks=[rows])
    return torch.tensor(rows.rows, dtype=torch.float64)


def _compared(tmp_path: Path, steps: int, *more: Any) -> float:
    """Train both ways from the same weights; the largest relative difference of a loss."""
    cfg = small_cfg(
        tmp_path,
        *("INPUT.RANDOM_FLIP", "none", "DATALOADER.ASPECT_RATIO_GROUPING", False, "MODEL.RESNETS.NORM", "GN"),
        *("MODEL.BACKBONE.FREEZE_AT", 0, "SOLVER.MAX_ITER", steps, "SOLVER.STEPS", (steps * 2 // 3,)),
        *("SOLVER.WARMUP_ITERS", steps // 5, "MODEL.WEIGHTS", str(tmp_path / "start.pth"), *more),
    )
    torch.manual_seed(0)
    model = recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree).build_model()
    torch.save({"model": model.state_dict()}, tmp_path / "start.pth")
    by_layer, by_det = _by_layer(cfg), _by_det(cfg, tmp_path / "det")
    assert by_layer.shape == by_det.shape == (steps, len(LOSSES))
    difference = ((by_layer - by_det).abs() / by_det.abs().clamp(min=1e-3)).max().item()
    first, last = by_det.sum(1)[[0, -1]].tolist()
    sys.stdout.write(f"{steps} steps: loss {first:.4f} to {last:.4f}, largest relative difference {difference:.2g}\n")
    return difference


def test_default_trainer_losses_equal_det_recipe(tmp_path: Path) -> None:
    assert _compared(tmp_path, 5) == 0


@pytest.mark.slow
def test_hundred_steps_equal_det_recipe(tmp_path: Path) -> None:
    assert _compared(tmp_path, 100) == 0
