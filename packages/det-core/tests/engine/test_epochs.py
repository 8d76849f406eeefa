"""`train.epochs` in place of `train.steps`."""

import pytest
import standins
from det_core import recipes
from det_core.engine import train
from det_core.errors import ConfigError


def with_epochs(tmp_path, epochs):
    path = standins.recipe(batch_size=4).save(tmp_path / "squares.yaml")
    return recipes.load(path, [f"train.epochs={epochs}"])


def test_epochs_become_steps_of_the_training_images(tmp_path):
    recipe = with_epochs(tmp_path, 1.5)
    assert "steps" not in recipe.tree["train"]
    images = len(recipe.build("data").dataset("train"))
    outcome = train(recipe, tmp_path / "run")
    assert outcome.step == -(-1.5 * images // 4)
    resolved = recipes.load(tmp_path / "run" / "recipe.resolved.yaml").tree["train"]
    assert (resolved["steps"], resolved["epochs"]) == (outcome.step, None)


def test_steps_and_epochs_replace_each_other(tmp_path):
    with_epochs(tmp_path, 2).save(tmp_path / "epochs.yaml")
    train_section = recipes.load(tmp_path / "epochs.yaml", ["train.steps=3"]).tree["train"]
    assert "epochs" not in train_section
    assert train_section["steps"] == 3


@pytest.mark.parametrize("length", [{}, {"steps": 2, "epochs": 2}, {"epochs": 0}, {"steps": -1}])
def test_length_of_a_training_is_one_of_both(length, tmp_path):
    tree = dict(standins.recipe(batch_size=4).tree)
    section = {key: value for key, value in tree["train"].items() if key != "steps"} | length
    with pytest.raises(ConfigError, match=r"train\.steps.*give train.steps, or train.epochs"):
        recipes.recipe_from_tree({**tree, "train": section}).build("train")
