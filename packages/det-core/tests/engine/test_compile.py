"""Training with networks that torch.compile translates."""

import io

import many_processes
import pytest
import standins
import torch
from det_core.engine import Train, train
from det_core.engine.step import prepare_model
from det_core.errors import ConfigError
from rich.console import Console
from torch._dynamo.utils import counters


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_gradients_equal_those_of_the_plain_model():
    """Of two steps, whose images are of two sizes; of a model without proposals, which rounding would change."""
    torch._dynamo.reset()
    counters.clear()
    [plain] = many_processes.gradients(["retinanet"]).values()
    assert not counters["frames"]
    [compiled] = many_processes.gradients(["retinanet"], compile=True).values()
    assert counters["frames"]["ok"] > 1
    (losses, gradients, _), (compiled_losses, compiled_gradients, _) = plain, compiled
    assert compiled_losses == pytest.approx(losses, rel=1e-4)
    assert compiled_gradients.keys() == gradients.keys()
    largest = float(max(value.abs().max() for value in gradients.values()))
    for key, gradient in gradients.items():
        torch.testing.assert_close(compiled_gradients[key], gradient, rtol=1e-3, atol=1e-4 * largest, msg=key)


def test_compiled_model_keeps_its_keys():
    model = many_processes.MODELS["mask"]()
    keys = list(model.state_dict())
    prepared = prepare_model(model, Train(steps=1, compile=True), torch.device("cpu"))
    assert list(prepared.state_dict()) == keys


def test_compile_model_without_networks_refused(tmp_path):
    with pytest.raises(ConfigError, match="compile: needs a model that names its networks; got Tiny"):
        train(standins.recipe(compile=True), tmp_path / "run", console=Console(file=io.StringIO()))
