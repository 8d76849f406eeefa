"""Recipes are found, laid over their parents, changed by dotted paths, resolved, written and read again."""

import os
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from det_core import recipes
from det_core.errors import ConfigError, DetError, RecipeError, UnknownNameError, UntrustedError
from det_core.recipes import Factory, Source, overrides

BUILT = []


class Net:
    """Fits the contract of a model and of a backbone."""

    def __init__(self, depth: int = 18, width: float = 1.0, inner: "Net | None" = None) -> None:
        BUILT.append(self)
        self.depth, self.width, self.inner = depth, width, inner

    def forward(self, batch, targets=None):
        return []


class Step:
    def __init__(self, params: Any, lr: float = 0.1, betas: Sequence[float] = (0.9, 0.99)) -> None:
        self.lr, self.betas = lr, betas


@dataclass
class Average:
    decay: float = 0.9


class Train:
    def __init__(
        self,
        steps: int = 10,
        optimizer: Factory[Step] = Factory(Step, lr=0.5),
        average: Average | None = None,
        marks: Sequence[int] = (1, 2),
        nets: Mapping[str, Factory[Net]] | None = None,
    ) -> None:
        self.steps, self.optimizer, self.average, self.marks = steps, optimizer, average, marks


class Data:
    def __init__(self, train: Factory[Any] | None = None, folder: Path = Path("pictures")) -> None:
        self.train, self.folder = train, folder


class Weights:
    def __init__(self, source: Source) -> None:
        self.source = source

    def load(self, model: Net) -> None:
        model.loaded = self.source


@pytest.fixture(autouse=True)
def lab(monkeypatch):
    """The classes above as "lab:Name", and as what sections call."""
    pytest.importorskip("torch")
    monkeypatch.delenv("DET_DATA", raising=False)  # relative paths start from the working directory
    module = types.ModuleType("lab")
    for each in (Net, Step, Average, Train, Data, Weights):
        monkeypatch.setattr(each, "__module__", "lab")
        setattr(module, each.__name__, each)
    module.Harm = os.system
    monkeypatch.setitem(sys.modules, "lab", module)
    for section in ("weights", "data", "train"):
        monkeypatch.setitem(overrides.DEFAULT_TYPES, section, f"lab:{section.title()}")
    BUILT.clear()


MODEL = 'model: {type: "lab:Net", depth: 34}\n'


def refused(path: Any, *changes: str) -> str:
    with pytest.raises(DetError) as caught:
        recipes.load(path, changes).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_recipe_is_built_section_by_section(write):
    recipe = recipes.load(write(MODEL + "weights: {source: /w.pth}\ntrain: {steps: 3}\nsummary: small\n"))
    assert recipe.summary == "small"
    assert recipe.build("model").depth == 34
    assert recipe.build("weights").source == str(Path("/w.pth").absolute())
    train = recipe.build("train")
    assert (train.steps, train.optimizer(params=[]).lr) == (3, 0.5)
    assert recipe.build("data").folder == Path.cwd() / "pictures"


def test_model_is_built_on_meta_device(write):
    import torch

    recipe = recipes.load(write('model: {type: "torch.nn:Linear", in_features: 2, out_features: 3}'))
    with torch.device("meta"):
        assert recipe.build_model().weight.device.type == "meta"


def test_checks_of_all_sections_precede_building(write):
    text = 'model: {type: "lab:Net", inner: {type: "lab:Net", depht: 1}}'
    assert refused(write(text)) == "model.inner.depht: Net has no argument 'depht'; did you mean 'depth'?"
    assert BUILT == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- a", "is not a recipe: it must be a mapping; it is ['a']"),
        ("just text", "is not a recipe: it must be a mapping; it is text 'just text'"),
        ("summary: x", "has no section `model`"),
        ("modle: {}", "'modle' is not a key of a recipe; did you mean 'model'?"),
        ("services: {}", "'services' is not a key of a recipe; a recipe has extends, summary"),
        ("model: 3", "`model` must be a mapping; got 3"),
        (MODEL + "summary: [a]", "`summary` must be text"),
        (MODEL + "extends: [a, b]", "`extends` must name one parent"),
        (MODEL + "extends: no_such_recipe", "extends: there is no recipe named 'no_such_recipe'"),
        (MODEL + "extends: gone.yaml", "gone.yaml: there is no such file"),
        ("model: {depth: 3}", "model: needs a `type`"),
        ('model: {type: "lab:Net", depth: x}', "model.depth: must be a whole number; got text 'x'"),
        ('model: {type: "lab:Nett"}', "model.type: 'lab' has no 'Nett'; did you mean 'Net'?"),
        ('model: {type: "lab:Average"}', "model: Average is not a Model; it lacks 'forward'"),
        (MODEL + "train: {step: 3}", "train.step: Train has no argument 'step'; did you mean 'steps'?"),
        (MODEL + "train: {average: {decay: true}}", "train.average.decay: must be a number; got true"),
        (MODEL + "weights: {}", "weights: Weights needs 'source'"),
        (MODEL + "train: {optimizer: {lr: x}}", "train.optimizer.lr: must be a number; got text 'x'"),
        ("extends: r.yaml", "its parents form a circle"),
    ],
)
def test_invalid_recipe_is_refused_in_one_sentence(write, text, words):
    assert words in refused(write(text))


def test_child_is_merged_over_parent(write):
    write(MODEL + "summary: parent\ntrain: {steps: 5, marks: [1, 2, 3]}\n", "base/parent.yaml")
    child = write("extends: base/parent.yaml\ntrain: {marks: [9]}\nmodel: {width: 2}\n", "child.yaml")
    assert recipes.load(child).tree == {
        "model": {"type": "lab:Net", "depth": 34, "width": 2},
        "train": {"steps": 5, "marks": [9]},
    }


@pytest.mark.parametrize(
    ("parent", "child", "merged"),
    [
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"type": "resnet", "depth": 3}, {"type": "fpn"}, {"type": "fpn"}),
        ({"type": "resnet", "d": 3}, {"type": "det-core/resnet"}, {"type": "det-core/resnet", "d": 3}),
        ({"type": "resnet", "d": 3}, {"type": "resnet", "e": 4}, {"type": "resnet", "d": 3, "e": 4}),
        ({"type": "resnet", "d": 3}, {"d": 4}, {"type": "resnet", "d": 4}),
        ({"steps": 3}, {"type": "lab:Other"}, {"type": "lab:Other"}),
    ],
)
def test_merge_combines_mappings_and_changed_type_replaces_node(parent, child, merged):
    assert overrides.merge(parent, child) == merged


def test_merge_changes_neither_side_and_shares_no_data():
    parent, child = {"a": {"x": [1]}}, {"b": {"y": [2]}}
    merged = overrides.merge(parent, child)
    merged["a"]["x"].append(0)
    merged["b"]["y"].append(0)
    assert (parent, child) == ({"a": {"x": [1]}}, {"b": {"y": [2]}})


@pytest.mark.parametrize(
    "parent", ["../secret.yaml", "{outside}/secret.yaml", "link.yaml", "/etc/passwd", "any:x.yaml"]
)
def test_parent_outside_recipe_folder_is_refused(write, tmp_path, parent):
    write("password: 1234\n", "secret.yaml")
    path = write(f"extends: {parent.format(outside=tmp_path)}\n", "own/r.yaml")
    (tmp_path / "own" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(DetError, match=r"leads out of the folder|there is no recipe named|no such file") as raised:
        recipes.load(path)
    assert "password" not in str(raised.value)
    assert "root:" not in str(raised.value)


def test_irregular_parent_file_is_refused(write, tmp_path):
    path = write("extends: pipe.yaml\n")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match="is no regular file"):
        recipes.load(path)


def test_tree_without_file_has_named_parents_only(tmp_path, monkeypatch, write):
    write(MODEL, "parent.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="there is no folder to search for a file"):
        recipes.recipe_from_tree({"extends": "parent.yaml"}, "settings")


def test_circular_parents_are_named(write):
    write("extends: b.yaml", "a.yaml")
    write("extends: ./c.yaml", "b.yaml")
    path = write("extends: a.yaml", "c.yaml")
    assert "c.yaml -> " in refused(path)
    assert "a.yaml -> " in refused(path)


@pytest.mark.parametrize(
    ("change", "section", "expected"),
    [
        ("model.depth=50", "model", {"type": "lab:Net", "depth": 50}),
        ("model.width=1e-2", "model", {"type": "lab:Net", "depth": 34, "width": 0.01}),
        ("model.depth=", "model", {"type": "lab:Net", "depth": None}),
        ('model.inner={type: "lab:Net"}', "model", {"type": "lab:Net", "depth": 34, "inner": {"type": "lab:Net"}}),
        ("model.type=lab:Step", "model", {"type": "lab:Step"}),
        ("train.steps=90_000", "train", {"steps": 90000, "marks": [1, 2]}),
        ("train.marks.1=7", "train", {"steps": 3, "marks": [1, 7]}),
        ("train.marks=[]", "train", {"steps": 3, "marks": []}),
        ("train.average.decay=0.5", "train", {"steps": 3, "marks": [1, 2], "average": {"decay": 0.5}}),
        ("train={steps: 4}", "train", {"steps": 4, "marks": [1, 2]}),
        (
            "train.optimizer.lr=1",
            "train",
            {"steps": 3, "marks": [1, 2], "optimizer": {"lr": 1}},
        ),
        (
            "train.optimizer.betas.0=0.8",
            "train",
            {"steps": 3, "marks": [1, 2], "optimizer": {"lr": 0.5, "betas": [0.8, 0.99]}},
        ),
        ("weights.source=/w", "weights", {"source": "/w"}),
        ("data.folder=x=y", "data", {"folder": "x=y"}),
        ("summary=short", "summary", "short"),
    ],
)
def test_override_sets_existing_value(write, change, section, expected):
    path = write(MODEL + "weights: null\ntrain: {steps: 3, marks: [1, 2]}\n")
    assert recipes.load(path, [change]).tree[section] == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.step=3", "train.step: Train has no argument 'step'; did you mean 'steps'?"),
        ("modle.depth=3", "'modle' is not a key of a recipe; did you mean 'model'?"),
        ("versions.torch=3", "'versions' cannot be set"),
        ("extends=a", "'extends' cannot be set"),
        ("train.optimizer.lrr=3", "train.optimizer.lrr: Step has no argument 'lrr'; did you mean 'lr'?"),
        ("train.marks.5=3", "train.marks.5: is no item of the list; its items are 0 to 1"),
        ("train.marks.x=3", "train.marks.x: is no item of the list"),
        ("train.steps.x=3", "train.steps: has no parts"),
        ("train.nets.a.depth=3", "train.nets: is not set, so it has no parts"),
        ("data.train.depth=3", "data.train: is not set, so it has no parts; set data.train itself first"),
        ("train.steps", "is not an override; one reads 'train.steps=100'"),
        ("=3", "is not an override"),
        ("train..steps=3", "is not an override"),
        ("train.steps=[1", "--set 'train.steps=[1': is not YAML"),
        ("summary.x=3", "summary.x: is text, which has no parts"),
        ("train.steps=x", "train.steps: must be a whole number; got text 'x'"),
    ],
)
def test_override_of_missing_path_is_refused(write, change, words):
    assert words in refused(write(MODEL + "train: {steps: 3, marks: [1, 2]}\n"), change)


def test_overrides_go_in_order_below_mappings_too(write):
    path = write(MODEL + 'train: {nets: {a: {type: "lab:Net"}}}\n')
    recipe = recipes.load(path, ["train.nets.a.depth=3", "train.nets.a.depth=4", "train.nets.a.width=2"])
    assert recipe.tree["train"]["nets"]["a"] == {"type": "lab:Net", "depth": 4, "width": 2}
    assert "train.nets.a.dept: Net has no argument 'dept'" in refused(path, "train.nets.a.dept=3")
    assert "train.nets.b: there is no 'b' here" in refused(path, "train.nets.b.depth=3")


def test_resolved_recipe_is_complete_and_needs_no_parents(write, tmp_path):
    write(MODEL + "summary: parent\ntrain: {optimizer: {lr: 1}}\nweights: {source: w.pth}\n", "parent.yaml")
    recipe = recipes.load(write("extends: parent.yaml\nsummary: mine\ndata: {}\n"))
    resolved = recipe.resolved()
    assert resolved.tree["model"] == {"type": "lab:Net", "depth": 34, "width": 1.0, "inner": None}
    assert resolved.tree["train"] == {
        "steps": 10,
        "optimizer": {"lr": 1.0, "betas": [0.9, 0.99]},
        "average": None,
        "marks": [1, 2],
        "nets": None,
    }
    assert resolved.tree["data"] == {"train": None, "folder": str(Path.cwd() / "pictures")}
    assert resolved.tree["weights"] == {"source": str(Path.cwd() / "w.pth")}
    assert set(resolved.tree["versions"]) >= {"det-core", "torch"}
    again = recipes.load(resolved.save(tmp_path / "elsewhere.yaml"))
    assert again == resolved
    assert again.resolved() == resolved
    assert again.build("train").optimizer(params=[]).lr == 1.0


def test_resolved_core_recipe_has_qualified_names(write):
    text = "model: {type: rcnn, backbone: {type: resnet, depth: 18}, proposal_generator: {type: rpn},"
    text += " roi_heads: {type: standard_roi_heads}, num_classes: 2}"
    resolved = recipes.load(write(text)).resolved()
    assert resolved.tree["model"]["type"] == "det-core/rcnn"
    assert resolved.tree["model"]["backbone"]["type"] == "det-core/resnet"
    assert recipes.recipe_from_tree(resolved.tree).resolved() == resolved


def test_recipe_is_saved_atomically(write, tmp_path, monkeypatch):
    recipe = recipes.load(write(MODEL))
    path = tmp_path / "out.yaml"
    path.write_text("old")
    monkeypatch.setattr(recipes.Recipe, "to_yaml", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        recipe.save(path)
    assert path.read_text() == "old"
    monkeypatch.undo()
    assert recipe.save(path).read_text() == recipe.to_yaml()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.yaml", "r.yaml"]
    with pytest.raises(RecipeError, match="cannot be written"):
        recipe.save(tmp_path / "nowhere" / "r.yaml")


def test_tree_is_accepted_as_recipe():
    recipe = recipes.recipe_from_tree({"model": {"type": "lab:Net"}}, source="settings")
    assert (recipe.source, recipe.build_model().depth) == ("settings", 18)
    with pytest.raises(RecipeError, match=r"^settings: 'modle' is not a key"):
        recipes.recipe_from_tree({"modle": {}}, source="settings")


def test_unknown_section_is_refused(write):
    with pytest.raises(ConfigError, match="is no section of a recipe"):
        recipes.load(write(MODEL)).build("versions")


@pytest.mark.parametrize("name", ["lab:Net", "det_core.data.images:Path", "det_core.recipes:load", "torch.nn:Module"])
def test_untrusted_recipe_is_limited_to_allow_list(name):
    recipe = recipes.recipe_from_tree({"model": {"type": name}}, trusted=False)
    with pytest.raises(UntrustedError, match=f"model.type: '{name}' is offered by no installed plugin"):
        recipe.build_model()


@pytest.mark.parametrize("name", ["torch.nn:Linear", "torch.nn.modules.linear:Linear"])
def test_listed_part_is_accepted_by_any_import_path(name):
    tree = {"model": {"type": name, "in_features": 2, "out_features": 3}}
    assert recipes.recipe_from_tree(tree, trusted=False).build_model().out_features == 3


def test_untrusted_model_must_not_contain_dataset():
    for name in ("det_core.data:CocoDataset", "det_core.data.formats.coco:CocoDataset"):
        tree = {"model": {"type": name, "images": "/"}}
        with pytest.raises(UntrustedError, match=r"model\.type: 'det_core\.data"):
            recipes.recipe_from_tree(tree, trusted=False).build_model()
    evaluator = "det_core.evaluation:CocoEvaluator"
    tree = {"model": {"type": "lab:Net"}, "data": {"eval_transforms": [{"type": evaluator, "classes": ["a"]}]}}
    with pytest.raises(UntrustedError, match=rf"data\.eval_transforms\.0\.type: '{evaluator}'"):
        recipes.recipe_from_tree(tree, trusted=False).build_part("data.eval_transforms", list)


@pytest.mark.parametrize(
    "harmful",
    [
        '{type: "os:system", command: "touch HARM"}',
        '{type: "subprocess:run", args: [touch, HARM]}',
        "{type: \"builtins:eval\", source: \"open('HARM', 'w')\"}",
        '{type: "torch:load", f: HARM, weights_only: false}',
        '{type: "torch.hub:load", repo_or_dir: HARM}',
        '{type: "numpy:save", file: HARM, arr: [1]}',
        '{type: "det_core.plugins.registry:import_target", target: "os:system"}',
        '{type: "functools:partial", func: "os:system"}',
        '{type: rcnn, backbone: {type: "pathlib:Path.touch", self: HARM}}',
        '{type: "this:9"}',
        '{type: "torch.nn:Module.__subclasses__"}',
        '{type: "test.support:import_helper.import_module", name: antigravity}',
        '{type: "det_core.data.images:Path.write_text", self: HARM, data: x}',
        '{type: "lab:Harm", command: "touch HARM"}',
    ],
)
def test_forbidden_callable_is_refused_before_import(write, harmful, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipes.load(write(f"model: {harmful}"))
    with pytest.raises(DetError, match=r"not something that a recipe may call|is not an import path"):
        recipe.build_model()
    assert not list(tmp_path.glob("HARM*"))


def test_file_is_found_with_and_without_suffix(write, monkeypatch, tmp_path):
    write(MODEL)
    write(MODEL, "plain")
    monkeypatch.chdir(tmp_path)
    for reference in ("r.yaml", "./r.yaml", Path("r.yaml"), "plain", str(tmp_path / "r.yaml")):
        assert recipes.load(reference).tree["model"]["depth"] == 34
    with pytest.raises(RecipeError, match=r"gone.yaml: there is no such file"):
        recipes.load("gone.yaml")
    with pytest.raises(UnknownNameError, match="recipe 'gone': is not known"):
        recipes.load("gone")
    with pytest.raises(RecipeError, match="is a folder"):
        recipes.load(tmp_path)
