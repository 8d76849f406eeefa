"""A training through `DefaultTrainer` and det's own training of the recipe that the same settings become."""

from pathlib import Path
from typing import Any

import torch
from det_core import recipes
from det_core.data import CocoDataset, compose
from det_core.data.loading.batch import collate
from det_core.engine.optim import set_learning_rate
from det_core.engine.parallel import Parallel, Processes
from det_core.engine.step import Step, prepare_model
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.layer.data import DatasetMapper, MetadataCatalog, build_detection_train_loader
from det_detectron2.layer.engine import DefaultTrainer, HookBase
from det_detectron2.layer.modeling.model import flat_settings
from layer_programs import small_cfg

LOSSES = ("loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc")


class _Record(HookBase):
    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def after_step(self) -> None:
        """Keep the losses."""
        newest = self.trainer.storage.latest()
        self.rows.append([newest[name][0] for name in LOSSES])


def _through_the_layer(cfg: Any, state: dict[str, torch.Tensor]) -> tuple[list[list[float]], list[int]]:
    order: list[int] = []

    class Trainer(DefaultTrainer):
        @classmethod
        def build_train_loader(cls, cfg):
            """The usual one, which notes the order."""
            mapper = DatasetMapper(cfg, True)
            return build_detection_train_loader(
                cfg, mapper=lambda each: (order.append(each["image_id"]), mapper(each))[1]
            )

        def build_hooks(self):
            """Without evaluation and files."""
            self.record = _Record()
            return [super().build_hooks()[1], self.record]

    trainer = Trainer(cfg)
    trainer.model.load_state_dict(state)
    trainer.train()
    return trainer.record.rows, order


def _by_det(cfg: Any, state: dict[str, torch.Tensor], order: list[int]) -> list[list[float]]:
    recipe = recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree)
    settings = recipe.build("train")
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    dataset = CocoDataset(metadata.image_root, metadata.json_file)
    places = {dataset[place].id: place for place in range(len(dataset))}
    transform = compose(recipe.build_part("data.train_transforms", list))
    device = torch.device("cpu")
    model = prepare_model(recipe.build_model(), settings, device)
    model.load_state_dict(state)
    step = Step(model, settings, device, Processes(Parallel(), device))
    schedule = settings.schedule(steps=settings.steps)
    rows = []
    for number in range(settings.steps):
        positions = range(number * settings.batch_size, (number + 1) * settings.batch_size)
        samples = [transform(dataset[places[order[position]]]) for position in positions]
        set_learning_rate(step.optimizer, schedule, number)
        values = step.gradients([collate(samples, positions.stop, positions=positions)])
        step.update()
        rows.append([values[name] for name in LOSSES])
    return rows


def _compared(tmp_path: Path, steps: int) -> None:
    flip, grouping = ("INPUT.RANDOM_FLIP", "none"), ("DATALOADER.ASPECT_RATIO_GROUPING", False)
    cfg = small_cfg(tmp_path, *flip, *grouping, "SOLVER.MAX_ITER", steps, "SOLVER.STEPS", (steps // 2,))
    recipe = recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree)
    torch.manual_seed(0)
    state = {name: value.clone() for name, value in recipe.build_model().state_dict().items()}
    through_layer, order = _through_the_layer(cfg, state)
    by_det = _by_det(cfg, state, order)
    assert len(through_layer) == len(by_det) == steps
    torch.testing.assert_close(torch.tensor(through_layer), torch.tensor(by_det), rtol=2e-2, atol=2e-3)


def test_default_trainer_losses_equal_det_recipe(tmp_path: Path) -> None:
    _compared(tmp_path, 3)
