"""Single operations of D2Go give what the published ones gave."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from det_core.engine import EMA, WarmupMultiStep

pytest.importorskip("det_mobile")

from det_mobile.anchors import cluster_sizes, within_squares
from det_mobile.fbnet import FBNet, FBNetBlocks
from det_mobile.schedules import JoinedWarmupCosine
from torch import nn

Recorded = dict[str, Any]
SIDES = {"bbox": 6, "rpn": 9}
SMALL_POOLED = ("default", "FBNetV3_G")


@pytest.fixture(scope="module")
def recorded(operations: Callable[[str], Path]) -> Recorded:
    with np.load(operations("d2go_ops.npz")) as data:
        return {key: data[key] for key in data.files}


def noise(refpack: ModuleType, recorded: Recorded, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    values = refpack.unit_noise(f"{recorded['input/tag']}/{name}", int(np.prod(shape)))
    return torch.from_numpy(np.asarray(values)).float().reshape(shape)


def filled(module: nn.Module, prefix: str, refpack: ModuleType, recorded: Recorded) -> nn.Module:
    shapes = {f"{prefix}.{key}": list(value.shape) for key, value in module.state_dict().items()}
    gains = json.loads(str(recorded["input/gains_json"]))
    made = {key: torch.from_numpy(np.array(refpack.make_tensor(key, shape, gains))) for key, shape in shapes.items()}
    module.load_state_dict({key.removeprefix(f"{prefix}."): value for key, value in made.items()})
    return module.eval()


def names(recorded: Recorded, kind: str) -> set[tuple[str, ...]]:
    return {tuple(key.split("/")[1:-1]) for key in recorded if key.startswith(f"{kind}/") and key.endswith("/shape")}


@torch.inference_mode()
def test_trunks_equal_the_recorded_ones(recorded: Recorded, refpack: ModuleType) -> None:
    picture, got = noise(refpack, recorded, "picture", (1, 3, 64, 96)), {}
    for arch in sorted({arch for arch, *_ in names(recorded, "trunk")}):
        trunk = filled(FBNet(FBNetBlocks(arch)), "backbone.body", refpack, recorded)
        got[f"trunk/{arch}/parameters"] = np.array(sum(each.numel() for each in trunk.parameters()))
        got |= {f"trunk/{arch}/{level}": value for level, value in trunk(picture).items()}
    assert got
    wanted = {key: value for key, value in recorded.items() if key.startswith("trunk/") and "/channels" not in key}
    assert refpack.compare(wanted, got) == []


@torch.inference_mode()
def test_heads_equal_the_recorded_ones(recorded: Recorded, refpack: ModuleType) -> None:
    got = {}
    for arch, part in names(recorded, "head"):
        side = SIDES.get(part, 6 if arch in SMALL_POOLED else 14)
        head, channels, _ = FBNetBlocks(arch).build(part, 64)
        x = noise(refpack, recorded, f"{part}{side}", (2, 64, side, side))
        got[f"head/{arch}/{part}"] = filled(head, part, refpack, recorded)(x)
        assert channels[-1] == recorded[f"head/{arch}/{part}/channels"]
    assert got
    wanted = {key: value for key, value in recorded.items() if key.startswith("head/") and "/channels" not in key}
    assert refpack.compare(wanted, got) == []


def test_schedules_equal_the_recorded_ones(recorded: Recorded) -> None:
    names = [key.removeprefix("schedule/") for key in recorded if key.startswith("schedule/")]
    assert names
    for name in names:
        given = json.loads(str(recorded[f"input/schedule/{name}_json"]))
        warmup = given.get("WARMUP_ITERS", 1000)
        if "STEPS" in given:
            schedule: Any = WarmupMultiStep(given["STEPS"], warmup=warmup)
        else:
            schedule = JoinedWarmupCosine(
                given["MAX_ITER"],
                end=given.get("BASE_LR_END", 0.0) / 0.16,
                warmup=warmup,
                warmup_start=given.get("WARMUP_FACTOR", 0.001),
                warmup_form=given.get("WARMUP_METHOD", "linear"),
                rescale=given.get("RESCALE_INTERVAL", False),
            )
        rates = [0.16 * schedule(int(step)) for step in recorded[f"input/schedule/{name}/steps"]]
        np.testing.assert_allclose(rates, recorded[f"schedule/{name}"], rtol=1e-6, atol=1e-12, err_msg=name)


class Trained:
    """What a callback sees of a training."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model


AVERAGES = {
    "decay_0.9": EMA(0.9, warmup=0),
    "decay_0.9998": EMA(0.9998, warmup=0),
    "decay_0.9_lerp": EMA(0.9, warmup=0),
    "decay_0.9_warm_up_10": EMA(0.9, warmup=10),
    "decay_0.9_no_frozen_no_buffers": EMA(0.9, warmup=0, buffers=False),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_moving_averages_equal_the_recorded_ones(recorded: Recorded, refpack: ModuleType, name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(5, 2))
    model[2].weight.requires_grad = False
    average, trained = AVERAGES[name], Trained(model)

    def at(step: int) -> None:
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if value.is_floating_point() and key != "2.weight":
                    first = noise(refpack, recorded, f"ema/{key}", tuple(value.shape))
                    value.copy_(first + 0.1 * step * noise(refpack, recorded, f"ema/{key}/step", tuple(value.shape)))

    at(0)
    average.on_start(trained)  # type: ignore[arg-type]
    for step in (1, 2, 3):
        at(step)
        average.after_step(trained, {})  # type: ignore[arg-type]
    # Beside what is frozen or counted, which an average of det leaves to the model, these are all that was recorded.
    kept = {key.removeprefix(f"ema/{name}/") for key in recorded if key.startswith(f"ema/{name}/")}
    assert average.average.keys() == kept - {"2.weight", "1.num_batches_tracked"}
    for key, value in average.average.items():
        np.testing.assert_allclose(value.numpy(), recorded[f"ema/{name}/{key}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "slack"), [("clear", 1.0), ("broad", 1.05)])
def test_anchors_of_clusters_equal_the_recorded_ones(recorded: Recorded, name: str, slack: float) -> None:
    sizes, wanted = recorded[f"input/kmeans/{name}/sizes"], recorded[f"kmeans/{name}/anchors"]
    found = cluster_sizes(sizes, 5)
    assert within_squares(sizes, found) <= slack * float(recorded[f"kmeans/{name}/within_squares"]) * (1 + 1e-5)
    if name == "clear":
        np.testing.assert_allclose(np.concatenate((-found / 2, found / 2), axis=1), wanted, rtol=1e-5, atol=1e-4)
