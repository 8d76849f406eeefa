"""The training that a `cfg` describes, as `detectron2.engine.DefaultTrainer`."""

import logging
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from det_detectron2.layer.config import CfgNode
from det_detectron2.layer.data import build_detection_test_loader, build_detection_train_loader
from det_detectron2.layer.engine.train_loop import AMPTrainer, HookBase, SimpleTrainer, TrainerBase
from det_detectron2.layer.engine.writers import create_ddp_model, default_writers
from det_detectron2.layer.evaluation import (
    DatasetEvaluator,
    inference_on_dataset,
    print_csv_format,
    verify_results,
)
from det_detectron2.layer.solver import build_lr_scheduler, build_optimizer
from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.events import EventWriter
from det_detectron2.layer.utils.logger import setup_logger

__all__ = ["DefaultTrainer"]


class DefaultTrainer(TrainerBase):
    """Model, optimizer, loader and hooks of a `cfg`; `build_*` class methods are there to be overridden.

    Args:
        cfg: configuration.

    Attributes:
        cfg: the settings, with rates for the number of processes.
        checkpointer: checkpointer of the model and this training.
        scheduler: scheduler of the learning rate.
        model: what is trained.
    """

    def __init__(self, cfg: CfgNode) -> None:
        from det_detectron2.layer.checkpoint import DetectionCheckpointer

        super().__init__()
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):
            setup_logger()
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        model = create_ddp_model(model, broadcast_buffers=False)
        trainer = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
        self._trainer = trainer(model, data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = DetectionCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.start_iter, self.max_iter, self.cfg = 0, cfg.SOLVER.MAX_ITER, cfg
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue from the last checkpoint of OUTPUT_DIR, if there is one and `resume`; else load MODEL.WEIGHTS."""
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if resume and self.checkpointer.has_checkpoint():
            # The iteration of a checkpoint is done.
            self.start_iter = self.iter + 1

    def build_hooks(self) -> list[HookBase | None]:
        """Timing, learning rate, precise norms, checkpoints, evaluation and writers, in this order."""
        from det_detectron2.layer.engine import hooks

        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATALOADER.NUM_WORKERS = 0  # of the loader of the norms
        precise = cfg.TEST.PRECISE_BN.ENABLED and bool(_norms(self.model))
        output: list[HookBase | None] = [
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            hooks.PreciseBN(
                cfg.TEST.EVAL_PERIOD, self.model, self.build_train_loader(cfg), cfg.TEST.PRECISE_BN.NUM_ITER
            )
            if precise
            else None,
        ]
        if comm.is_main_process():
            output.append(hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD))

        def test_and_save_results() -> Any:
            self._last_eval_results = self.test(self.cfg, self.model)
            return self._last_eval_results

        output.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, test_and_save_results))
        if comm.is_main_process():
            output.append(hooks.PeriodicWriter(self.build_writers(), period=20))
        return output

    def build_writers(self) -> list[EventWriter]:
        """What writes the scalars: `default_writers`."""
        return default_writers(self.cfg.OUTPUT_DIR, self.max_iter)

    def train(self) -> Any:  # type: ignore[override]
        """Run the training; the results of the last evaluation, in rank 0, if TEST.EXPECTED_RESULTS are given."""
        super().train(self.start_iter, self.max_iter)
        if len(self.cfg.TEST.EXPECTED_RESULTS) and comm.is_main_process():
            assert hasattr(self, "_last_eval_results"), "No evaluation results obtained during training!"
            verify_results(self.cfg, self._last_eval_results)
            return self._last_eval_results
        return None

    def run_step(self) -> None:
        """One iteration."""
        self._trainer.iter = self.iter
        with self._seeded():
            self._trainer.run_step()

    def _seeded(self) -> AbstractContextManager[None]:
        """With SEED, random numbers of det's models are of each image, as in det's own training of this recipe."""
        from det_core.ops.global_batch import global_batch

        if self.cfg.SEED < 0:
            return nullcontext()
        images = self.cfg.SOLVER.IMS_PER_BATCH
        share = images // comm.get_world_size()
        start = self.iter * images + comm.get_rank() * share
        return global_batch(
            [(self.cfg.SEED, start + place) for place in range(share)], next(self.model.parameters()).device
        )

    def state_dict(self) -> dict[str, Any]:
        """As the base's, with the inner trainer's."""
        return {**super().state_dict(), "_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As the base's, with the inner trainer's."""
        super().load_state_dict(state_dict)
        self._trainer.load_state_dict(state_dict["_trainer"])

    def __getattr__(self, name: str) -> Any:
        if name in ("model", "optimizer", "data_loader"):
            return getattr(self.__dict__["_trainer"], name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("model", "optimizer", "data_loader") and "_trainer" in self.__dict__:
            setattr(self._trainer, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def data_loader_iter(self) -> Any:
        """The iterator that batches come from."""
        return self._trainer._data_loader_iter

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """The model, logged."""
        from det_detectron2.layer.modeling import build_model

        model = build_model(cfg)
        logging.getLogger(__name__).info("Model:\n%s", model)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """What `detectron2.solver.build_optimizer` gives."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        """What `detectron2.solver.build_lr_scheduler` gives."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[Any]:
        """What `detectron2.data.build_detection_train_loader` gives."""
        return build_detection_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[Any]:
        """What `detectron2.data.build_detection_test_loader` gives."""
        return build_detection_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """To be overridden, for `test` without evaluators."""
        raise NotImplementedError(
            "If you want DefaultTrainer to automatically run evaluation, please implement `build_evaluator()` in "
            "subclasses, such as one that returns COCOEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR)."
        )

    @classmethod
    def test(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
    ) -> Any:
        """Evaluate on DATASETS.TEST.

        Args:
            cfg: configuration.
            model: model to evaluate.
            evaluators: evaluator of each data set; None uses `build_evaluator`.

        Returns:
            The results by data set, or those of the only one.
        """
        logger = logging.getLogger(__name__)
        source = [evaluators] if isinstance(evaluators, DatasetEvaluator) else evaluators
        if source is not None:
            assert len(cfg.DATASETS.TEST) == len(source), f"{len(cfg.DATASETS.TEST)} != {len(source)}"
        results: OrderedDict[str, Any] = OrderedDict()
        for place, name in enumerate(cfg.DATASETS.TEST):
            loader = cls.build_test_loader(cfg, name)
            if source is not None:
                evaluator = source[place]
            else:
                try:
                    evaluator = cls.build_evaluator(cfg, name)
                except NotImplementedError:
                    logger.warning("No evaluator found. Use DefaultTrainer.test(evaluators=), or build_evaluator.")
                    results[name] = {}
                    continue
            results[name] = inference_on_dataset(model, loader, evaluator)
            if comm.is_main_process():
                assert isinstance(results[name], dict), f"Evaluator must return a dict. Got {results[name]} instead."
                logger.info("Evaluation results for %s in csv format:", name)
                print_csv_format(results[name])
        return next(iter(results.values())) if len(results) == 1 else results

    @staticmethod
    def auto_scale_workers(cfg: CfgNode, num_workers: int) -> CfgNode:
        """The settings for another number of processes than SOLVER.REFERENCE_WORLD_SIZE, by the linear rule."""
        old = cfg.SOLVER.REFERENCE_WORLD_SIZE
        if old in (0, num_workers):
            return cfg
        cfg = cfg.clone()
        frozen = cfg.is_frozen()
        cfg.defrost()
        assert cfg.SOLVER.IMS_PER_BATCH % old == 0, "Invalid REFERENCE_WORLD_SIZE in config!"
        scale = num_workers / old
        current = cfg.SOLVER
        current.IMS_PER_BATCH = round(current.IMS_PER_BATCH * scale)
        current.BASE_LR *= scale
        current.MAX_ITER = round(current.MAX_ITER / scale)
        current.WARMUP_ITERS = round(current.WARMUP_ITERS / scale)
        current.STEPS = tuple(round(each / scale) for each in current.STEPS)
        cfg.TEST.EVAL_PERIOD = round(cfg.TEST.EVAL_PERIOD / scale)
        current.CHECKPOINT_PERIOD = round(current.CHECKPOINT_PERIOD / scale)
        current.REFERENCE_WORLD_SIZE = num_workers
        if frozen:
            cfg.freeze()
        return cfg


def _norms(model: nn.Module) -> list[nn.Module]:
    from fvcore.nn.precise_bn import get_bn_modules

    return list(get_bn_modules(model))
