"""Weights of another model say of which."""

import functools

import pytest
import torch
from det_core import recipes
from det_core.errors import WeightsError
from det_core.weights import load_into
from det_inspect.models import fitting

NAMES = ("faster_rcnn_r50_fpn_3x", "mask_rcnn_r50_fpn_1x", "mask_rcnn_r50_fpn_3x", "rpn_r50_fpn_1x")


@functools.cache
def built(name, **changes):
    with torch.device("meta"):
        return recipes.load(name, [f"model.{key}={value}" for key, value in changes.items()]).build_model()


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(recipes, "names", lambda: NAMES)
    monkeypatch.setattr(fitting, "_SECONDS", 60.0)  # of a machine that does other things too


def refusal(model, state):
    with pytest.raises(WeightsError) as error:
        load_into(model, state, "model.pth")
    return str(fitting.with_hint(error.value, state, model))


def test_weights_of_a_published_model_name_its_recipe():
    message = refusal(built("rpn_r50_fpn_1x"), built("mask_rcnn_r50_fpn_1x").state_dict())
    assert "are those of the recipe mask_rcnn_r50_fpn_1x" in message
    assert "tensors without a place: roi_heads." in message
    message = refusal(built("mask_rcnn_r50_fpn_3x"), built("faster_rcnn_r50_fpn_3x").state_dict())
    assert "are those of the recipe faster_rcnn_r50_fpn_3x" in message


def test_better_recipe_for_other_num_classes_is_nearest_model():
    state = built("mask_rcnn_r50_fpn_3x", num_classes=3).state_dict()
    assert "fit the recipe mask_rcnn_r50_fpn_1x better (96%)" in refusal(built("rpn_r50_fpn_1x"), state)
    assert "the recipe" not in refusal(built("mask_rcnn_r50_fpn_3x"), state)  # it is that one already


def test_better_recipe_of_unknown_weights_is_empty():
    state = {f"backbone.layer{i}.weight": torch.zeros(1) for i in range(30)}
    assert "the recipe" not in refusal(built("rpn_r50_fpn_1x"), state)


def test_better_recipe_time_limit_ends_search(monkeypatch):
    monkeypatch.setattr(fitting, "_SECONDS", -1)
    assert fitting.better_recipe(built("mask_rcnn_r50_fpn_1x").state_dict(), {}) == ""


def test_better_recipe_skips_recipes_that_cannot_be_built(monkeypatch):
    monkeypatch.setattr(recipes, "names", lambda: ("no_such_recipe", *NAMES))
    state = built("rpn_r50_fpn_1x").state_dict()
    assert fitting.better_recipe(state, {}).startswith("their names and shapes are those of the recipe rpn_r50_fpn_1x")
