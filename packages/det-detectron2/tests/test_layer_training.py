"""Programs that train: `detectron2.engine`, `solver` and `utils.events` on the blood cells."""

import json
import logging
from pathlib import Path

import pytest
import torch
from det_detectron2.layer.checkpoint import DetectionCheckpointer
from det_detectron2.layer.engine import (
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    default_argument_parser,
    default_setup,
    hooks,
    launch,
)
from det_detectron2.layer.evaluation import COCOEvaluator
from det_detectron2.layer.solver import WarmupCosineLR, WarmupMultiStepLR, build_lr_scheduler, build_optimizer
from det_detectron2.layer.utils.events import EventStorage, JSONWriter, get_event_storage
from layer_programs import small_cfg
from torch import nn


class _Losses(HookBase):
    """Keeps the loss of each iteration, as programs do."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_step(self) -> None:
        """Keep it."""
        self.values.append(self.trainer.storage.latest()["total_loss"][0])


class _Trainer(DefaultTrainer):
    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        """COCO's metrics."""
        return COCOEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR)

    def build_hooks(self):
        """With one that keeps losses."""
        self.losses = _Losses()
        return [*super().build_hooks()[:-1], self.losses, super().build_hooks()[-1]]


def _trained(cfg, resume: bool = False) -> _Trainer:
    default_setup(cfg, default_argument_parser().parse_args([]))
    trainer = _Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def test_default_trainer_writes_evaluates_and_resumes(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path, "SOLVER.CHECKPOINT_PERIOD", 2, "TEST.EVAL_PERIOD", 2)
    whole = _trained(cfg)
    assert len(whole.losses.values) == 4
    names = {each.name for each in tmp_path.iterdir()}
    assert {"model_0000001.pth", "model_final.pth", "metrics.json", "config.yaml", "last_checkpoint"} <= names
    rows = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert "bbox/AP" in rows[-1]
    assert next(row["lr"] for row in rows if "lr" in row) == pytest.approx(0.005 * 0.1)
    content = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert content["iteration"] == 3
    assert content["trainer"]["hooks"]["LRScheduler"]["last_epoch"] == 4
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    again = _Trainer(cfg)
    again.resume_or_load(resume=True)
    assert again.start_iter == 2
    assert again.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    again.train()
    assert len(again.losses.values) == 2


def test_rates_follow_solver_settings(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path, "SOLVER.BIAS_LR_FACTOR", 2.0, "SOLVER.WEIGHT_DECAY_NORM", 0.0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = build_optimizer(cfg, model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(model[0].bias)] == pytest.approx(2 * rates[id(model[0].weight)])
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert (decays[id(model[1].weight)], decays[id(model[0].weight)]) == (0.0, 0.0001)
    plain = torch.optim.SGD(model.parameters(), 0.01)
    scheduler = build_lr_scheduler(small_cfg(tmp_path), plain)
    found = []
    for _ in range(4):
        found.append(plain.param_groups[0]["lr"])
        plain.step()
        scheduler.step()
    assert found == pytest.approx([0.001 * 0.01, 0.01 * (0.001 + 0.5 * 0.999), 0.01, 0.001])
    cfg.SOLVER.LR_SCHEDULER_NAME = "Nothing"
    with pytest.raises(ValueError, match="Unknown LR scheduler: Nothing"):
        build_lr_scheduler(cfg, plain)


@pytest.mark.parametrize(
    ("kind", "more"), [(WarmupMultiStepLR, {"milestones": [3]}), (WarmupCosineLR, {"max_iters": 4})]
)
def test_earlier_schedulers_warm_up_from_their_factor(kind, more) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 1.0)
    scheduler = kind(optimizer, warmup_factor=0.1, warmup_iters=2, **more)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 if kind is WarmupMultiStepLR else 0.146, abs=1e-3)


def test_gradients_are_limited_where_asked(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path, "SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5)
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(cfg, layer)
    layer.weight.grad, layer.bias.grad = torch.full((1, 2), 9.0), torch.full((1,), -9.0)
    optimizer.step()
    assert layer.weight.grad.abs().max() == 0.5
    assert type(optimizer).__name__ == "SGDWithGradientClip"


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """A loss."""
        get_event_storage().put_scalar("mean", x.mean())
        return {"loss": self.layer(x).pow(2).mean()}


def _simple(value: float = 1.0) -> SimpleTrainer:
    model = _Model()
    batches = iter(lambda: torch.full((3, 2), value), None)
    return SimpleTrainer(model, batches, torch.optim.SGD(model.parameters(), 0.1))


def test_hooks_run_in_order_and_write(tmp_path: Path) -> None:
    trainer, calls = _simple(), []
    checkpointer = DetectionCheckpointer(trainer.model, str(tmp_path), trainer=trainer)
    trainer.register_hooks(
        [
            hooks.CallbackHook(before_train=lambda _: calls.append("start"), after_step=lambda t: calls.append(t.iter)),
            hooks.EvalHook(2, lambda: {"task": {"AP": float(len(calls))}}),
            hooks.BestCheckpointer(2, checkpointer, "task/AP"),
            hooks.PeriodicWriter([JSONWriter(tmp_path / "m.json")], period=2),
            None,
        ]
    )
    trainer.train(0, 5)
    assert calls == ["start", 0, 1, 2, 3, 4]
    rows = [json.loads(line) for line in (tmp_path / "m.json").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 3, 4, 5]
    assert (tmp_path / "model_best.pth").is_file()
    assert rows[-1]["task/AP"] == 6.0


def test_failed_training_names_its_iteration(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FloatingPointError, match="infinite or NaN at iteration=0"), caplog.at_level(logging.ERROR):
        _simple(float("nan")).train(0, 3)
    with pytest.raises(AssertionError, match="inside a 'with EventStorage"):
        get_event_storage()


def test_scalars_have_prefixes_and_one_hint() -> None:
    with EventStorage(5) as storage:
        with storage.name_scope("train"):
            storage.put_scalar("loss", 2.0)
        assert storage.latest() == {"train/loss": (2.0, 5)}
        with pytest.raises(AssertionError, match="different smoothing_hint"):
            storage.put_scalar("train/loss", 2.0, smoothing_hint=False)
        with pytest.raises(KeyError, match="No history"):
            storage.history("nothing")


def _count(folder: str) -> None:
    from det_detectron2.layer.utils import comm

    numbers = comm.all_gather(comm.get_rank())
    Path(folder, f"rank{comm.get_rank()}").write_text(str(numbers))


@pytest.mark.slow
def test_launch_joins_processes(tmp_path: Path) -> None:
    launch(_count, 2, dist_url="auto", args=(str(tmp_path),))
    assert {each.read_text() for each in tmp_path.iterdir()} == {"[0, 1]"}
