"""Costs of a model whose numbers can be worked out by hand, and of real ones."""

import json

import pytest
import torch
from click.testing import CliRunner
from det_core.structures import ImageBatch, Prediction
from det_inspect.cli.analyze import command
from det_inspect.models import costs_page, model_costs
from det_inspect.models.page import with_unit
from torch import nn


class Small(nn.Module):
    """A convolution that is called twice, and a layer behind it."""

    num_classes = 1

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.rest = nn.Sequential(nn.Linear(3, 5))

    def forward(self, batch, targets=None):
        x = self.conv(self.conv(batch.pixels.float()))
        self.rest(x.mean((2, 3)))
        return [Prediction() for _ in batch.sizes]


def test_costs_are_those_worked_out_by_hand():
    batch = ImageBatch(pixels=torch.zeros(1, 3, 4, 6, dtype=torch.uint8), sizes=((4, 6),))
    found = {cost.name: cost for cost in model_costs(Small(), batch)}
    # 24 pixels x 3 channels x 27 products, twice; the layer 3 x 5.
    assert (found["conv"].parameters, found["conv"].flops, found["conv"].calls) == (81, 2 * 2 * 24 * 3 * 27, 2)
    assert (found["rest.0"].parameters, found["rest.0"].flops, found["rest"].activations) == (20, 2 * 15, 5)
    assert found[""].flops == found["conv"].flops + 30
    assert (found[""].parameters, found[""].activations) == (101, 2 * 72 + 5)


class Listed(Small):
    """The same layer, in a list that is never called."""

    def __init__(self):
        super().__init__()
        self.rest = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(3, 5)])})

    def forward(self, batch, targets=None):
        self.rest["layers"][0](self.conv(batch.pixels.float()).mean((2, 3)))
        return [Prediction() for _ in batch.sizes]


def test_costs_of_uncalled_containers_are_those_of_their_layers():
    batch = ImageBatch(pixels=torch.zeros(1, 3, 4, 6, dtype=torch.uint8), sizes=((4, 6),))
    found = {cost.name: cost for cost in model_costs(Listed(), batch)}
    assert [found[name].flops for name in ("rest", "rest.layers", "rest.layers.0")] == [30, 30, 30]
    assert found[""].flops == found["conv"].flops + 30


def test_page_holds_every_module_and_no_markup_of_names():
    batch = ImageBatch(pixels=torch.zeros(1, 3, 4, 6, dtype=torch.uint8), sizes=((4, 6),))
    page = costs_page(model_costs(Small(), batch), "<b>small</b>", "noise")
    assert "&lt;b&gt;small" in page
    assert page.count("<tr>") == 5
    assert page.count("<tr>") - 1 == len(list(Small().modules()))


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (999, "999"), (1234567, "1.23 M"), (10**16, "1e+04 T")])
def test_numbers_are_shown_with_three_digits_and_a_unit(number, text):
    assert with_unit(number) == text


def test_command_counts_a_recipe_without_its_weights(tmp_path):
    page = tmp_path / "page.html"
    arguments = ["retinanet_r50_fpn_1x", "--size", "64", "96", "--html", str(page)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "37.9 M" in result.output  # parameters of the published model, without those of frozen norms
    assert "bottom_up" in page.read_text()


def test_command_prints_all_modules_as_json():
    result = CliRunner().invoke(command, ["fcos_r50_fpn_1x", "--size", "64", "64", "--json"], catch_exceptions=False)
    rows = json.loads(result.output)
    assert rows[0]["name"] == ""
    assert rows[0]["flops"] == sum(row["flops"] for row in rows if row["name"] in ("backbone", "head"))
