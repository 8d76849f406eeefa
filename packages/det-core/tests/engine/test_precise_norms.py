"""Batch-norm statistics over many batches."""

import io

import pytest
import standins
import torch
from det_core import recipes
from det_core.data import Batch, TrainLoader
from det_core.engine import read_checkpoint, train
from det_core.engine.precise_norms import estimate_norms
from det_core.ops.layers import FrozenBatchNorm2d
from det_core.structures import ImageBatch, Targets
from rich.console import Console
from torch import nn


class Norms(nn.Module):
    """Two live norms, the second of which sees each image alone and then all; one that sees nothing; a frozen one."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.idle = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.frozen, self.dropout = FrozenBatchNorm2d(3), nn.Dropout(0.5)

    def forward(self, batch, targets=None):
        assert targets is not None
        self.idle(batch.pixels[:0].float())
        x = self.dropout(self.frozen(self.first(batch.pixels.float())))
        for image in x:
            self.second(image[None] ** 3)
        return {"loss": self.second(x).sum() + torch.rand(())}


def batch(*images):
    nothing = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    count = len(images)
    return Batch(
        images=ImageBatch.stack(list(images)), targets=(nothing,) * count, ids=(0,) * count, paths=(None,) * count,
        position=0,
    )  # fmt: skip


def image(height, width, seed, scale=40):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(3, height, width, generator=random) * scale + seed


BATCHES = [batch(image(4, 6, 1), image(4, 6, 2)), batch(image(9, 3, 30)), batch(image(2, 2, 4), image(2, 2, 5, 200))]


def test_statistics_are_mean_and_variance_of_two_batches_together():
    def grey(*values):
        return torch.tensor(values).reshape(1, 1, -1).expand(3, 1, -1)

    model = Norms()
    # 1, 3 and then 5, 5, 11, 5: mean 5; squared distances 16, 4, 0, 0, 36, 0 over six values less one.
    estimate_norms(model, [batch(grey(1.0, 3.0)), batch(grey(5.0, 5.0, 11.0, 5.0))])
    assert model.first.running_mean.tolist() == [5.0, 5.0, 5.0]
    torch.testing.assert_close(model.first.running_var, torch.full((3,), 56 / 5))


def test_precise_norms_statistics_equal_those_of_all_inputs():
    model = Norms()
    seen = {"first": [], "second": []}
    for name, inputs in seen.items():
        watch = model.get_submodule(name)
        watch.register_forward_pre_hook(lambda _, x, inputs=inputs: inputs.append(x[0].transpose(0, 1).flatten(1)))
    estimate_norms(model, BATCHES)
    for name, inputs in seen.items():
        norm, values = model.get_submodule(name), torch.cat(inputs, dim=1).double()
        torch.testing.assert_close(norm.running_mean.double(), values.mean(dim=1), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(norm.running_var.double(), values.var(dim=1), rtol=1e-5, atol=1e-5)
    # The second norm saw what the first one normalises by the statistics of each batch, as in training.
    assert abs(torch.cat(seen["second"], dim=1)).max() > 1
    whole = torch.cat([x for x in seen["second"] if x.shape[1] == 48], dim=1)
    torch.testing.assert_close(whole.mean(dim=1), torch.zeros(3), rtol=0, atol=1e-5)


def test_only_running_statistics_change():
    model = Norms()
    model.second.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    estimate_norms(model, BATCHES)
    drawn = torch.rand(())
    torch.manual_seed(3)
    assert drawn == torch.rand(())
    assert [module.training for module in model.modules()] == modes
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {f"{norm}.running_{of}" for norm in ("first", "second") for of in ("mean", "var")}
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_precise_norms_reading_error_keeps_statistics():
    def breaking():
        yield from BATCHES[:2]
        raise OSError("gone")

    model = Norms()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(OSError, match="gone"):
        estimate_norms(model, breaking())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_without_live_norms_no_batch_is_read():
    estimate_norms(nn.Sequential(FrozenBatchNorm2d(3)), iter(lambda: pytest.fail("a batch was read"), 0))


def run(folder, **settings):
    return train(standins.recipe(steps=4, **settings), folder, console=Console(file=io.StringIO()))


def test_checkpoint_holds_the_statistics_of_the_coming_batches(tmp_path):
    run(tmp_path / "moving")
    outcome = run(tmp_path / "precise", precise_norms=3)
    _, moving = read_checkpoint(tmp_path / "moving" / "last.safetensors")
    _, precise = read_checkpoint(tmp_path / "precise" / "last.safetensors")
    statistics = {"body.2.running_mean", "body.2.running_var"}
    assert {key for key in moving if not torch.equal(moving[key], precise[key])} == statistics
    model = standins.Tiny()
    model.load_state_dict(moving)
    estimate_norms(model, [b for b, _ in zip(TrainLoader(
        dataset=standins.Squares(), batch_size=2, start=8), range(3), strict=False)])  # fmt: skip
    torch.testing.assert_close(
        {key: precise[key] for key in statistics}, {key: model.state_dict()[key] for key in statistics}
    )
    assert outcome.metrics == pytest.approx(run(tmp_path / "again", precise_norms=3).metrics)


def test_precise_norms_run_at_end_without_evaluation(tmp_path):
    recipe = standins.recipe(steps=4, precise_norms=3)
    recipe.tree["data"]["val"] = None
    outcome = train(recipe, tmp_path / "blind", console=Console(file=io.StringIO()))
    run(tmp_path / "seeing", precise_norms=3)
    assert outcome.finished
    (_, blind), (_, seeing) = (read_checkpoint(tmp_path / name / "last.safetensors") for name in ("blind", "seeing"))
    torch.testing.assert_close(blind, seeing, rtol=0, atol=0)
    assert recipes.load(tmp_path / "blind" / "recipe.resolved.yaml").tree["train"]["precise_norms"] == 3
