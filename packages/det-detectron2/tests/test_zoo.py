"""The recipes that come with det-core; tests/parity compares them with what is published."""

import pytest
from det_core import recipes
from det_core.zoo import PUBLISHED, TORCHVISION, UNPUBLISHED

TABLES = (PUBLISHED | TORCHVISION).items()
ZOO = {name: f"{folder}/{path}" for folder, names in TABLES for name, path in names.items()}


@pytest.mark.parametrize("name", ZOO)
def test_recipe_fits_constructors_and_published_path_is_alias(name):
    recipe = recipes.load(name).check()
    assert recipes.load(ZOO[name]) == recipes.load(f"{ZOO[name]}.yaml") == recipe
    assert recipe.summary


def test_recipes_have_distinct_summaries_and_are_listed():
    listed = {each.name: each.summary for each in recipes.listing() if each.qualified.startswith("det-core/")}
    assert listed.keys() == {*ZOO, *UNPUBLISHED}
    assert len(set(listed.values())) == len(listed)


def test_names_follow_the_published_ones():
    for name, path in ZOO.items():
        plain = path.partition("/")[2].lower()
        for letter in "rx":
            plain = plain.replace(f"_{letter}_", f"_{letter}")
        assert name.endswith(plain)


@pytest.mark.parametrize("name", ["faster_rcnn_r50_fpn_1x", "retinanet_r50_fpn_3x", "fcos_r50_fpn_1x"])
def test_resolved_recipe_resolves_to_itself(name):
    resolved = recipes.load(name).resolved()
    assert resolved.resolved() == resolved


def test_longer_schedule_differs_in_steps_alone():
    short, long = (recipes.load(f"faster_rcnn_r50_fpn_{times}x").tree for times in (1, 3))
    assert short["model"] == long["model"]
    assert short["data"] == long["data"]
    assert (long["train"]["steps"], long["train"]["schedule"]["milestones"]) == (270_000, [210_000, 250_000])
    assert {**long["train"], "steps": 0, "schedule": 0} == {**short["train"], "steps": 0, "schedule": 0}
