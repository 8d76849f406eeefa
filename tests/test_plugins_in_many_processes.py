"""Losses of plugins' models divide by counts of all processes, and random numbers follow from the image."""

import subprocess
import sys
from pathlib import Path

import plugin_gradients
import pytest
import torch


@pytest.fixture(scope="module")
def alone():
    return plugin_gradients.gradients()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    program = str(Path(plugin_gradients.__file__))
    running = [subprocess.Popen([sys.executable, program, str(folder), str(rank)]) for rank in (0, 1)]
    assert [each.wait(timeout=300) for each in running] == [0, 0]
    return torch.load(folder / "together.pt")


@pytest.mark.parametrize("name", plugin_gradients.MODELS)
def test_gradients_two_processes_equal_those_of_one(alone, together, name):
    one, two = alone[name], together[name]
    assert one.keys() == two.keys()
    scale = max(value.abs().max() for key, value in one.items() if not key.startswith("loss"))
    for key, value in one.items():
        # What a parameter's own values are too small for float32 to tell is held against the largest of all.
        limit = value.abs() if key.startswith("loss") else value.abs().max().clamp(min=scale / 10)
        assert ((two[key] - value).abs() / limit).max() < 1e-5, key


@pytest.mark.parametrize("name", plugin_gradients.MODELS)
def test_losses_are_none_of_them_zero(alone, name):
    assert all(value > 0 for key, value in alone[name].items() if key.startswith("loss"))
