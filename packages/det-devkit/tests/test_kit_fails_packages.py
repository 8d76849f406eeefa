"""A package or a recipe that breaks one rule fails that check, that check alone, and is told what to do."""

import sys
from importlib import metadata
from textwrap import dedent

import pytest
from det_core import plugins
from det_core.errors import ConfigError
from det_devkit.conformance import check_plugin

IN_USE = "it is in use and has no problems"
BOUNDED = "it declares its supported versions of core"
DESCRIBED = "it has a licence, a summary, a readme and a version"
READ = "it can be read and fits its constructors"
SAME = "it resolves to the same recipe"
META = "its model can be built on the meta device"
GOOD_HOOK = """
from det_core.plugins.hooks import hookimpl

@hookimpl
def det_recipes():
    return {"kit_recipe": "kit_package_parts:recipe.yaml"}
"""
GOOD_RECIPE = """
summary: a model of one layer
model: {type: "kit_package_parts:Model", width: 3}
"""
GOOD_PARTS = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.num_classes = 2
        self.layer = nn.Linear(3, width)
"""
ABOUT = {
    "Name": "kit-package",
    "Version": "1.0",
    "Summary": "A package for a test.",
    "License-Expression": "MIT",
    "Requires-Python": ">=3.11",
    "Requires-Dist": "det-core>=0.2,<0.3",
}


@pytest.fixture
def failures(tmp_path, monkeypatch):
    """Installs a package as an installer would, and says which checks it fails and why."""
    monkeypatch.syspath_prepend(tmp_path)

    def judged(
        hook=GOOD_HOOK, parts=GOOD_PARTS, recipe=GOOD_RECIPE, readme="What it is for.", entry_points="", **about
    ):
        own = tmp_path / "kit_package_parts"
        record = tmp_path / "kit_package-1.0.dist-info"
        for folder in (own, record):
            folder.mkdir()
        (tmp_path / "kit_package.py").write_text(dedent(hook))
        (own / "__init__.py").write_text(dedent(parts))
        (own / "recipe.yaml").write_text(dedent(recipe))
        lines = {**ABOUT, **{name.replace("_", "-"): value for name, value in about.items()}}
        text = "".join(f"{name}: {value}\n" for name, value in lines.items() if value)
        (record / "METADATA").write_text(f"Metadata-Version: 2.4\n{text}\n{readme}\n")
        (record / "entry_points.txt").write_text(f"[det]\nkit-package = kit_package\n{entry_points}")
        plugins.catalog(refresh=True)
        report = check_plugin("kit-package")
        return {outcome.check: outcome.reason for outcome in report.outcomes if outcome.status == "failed"}

    yield judged
    for name in ("kit_package", "kit_package_parts"):
        sys.modules.pop(name, None)
    monkeypatch.undo()
    plugins.catalog(refresh=True)


def test_valid_package_passes(failures):
    assert failures() == {}


WITH_A_HEAD = (
    GOOD_HOOK
    + """
@hookimpl
def det_backbones():
    return {"kit_backbone": "kit_package_parts:Backbone"}
"""
)
NEEDS_A_WORD = (
    GOOD_PARTS
    + """
from det_devkit.conformance import conformance

class Backbone(nn.Module):
    def __init__(self, secret: str) -> None:
        super().__init__()
        assert secret == "open"
        self.channels, self.strides, self.size_divisibility = {"s1": 2}, {"s1": 1}, 1
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, pixels):
        return {"s1": self.layer(pixels)}

told = conformance("kit-package", examples={"backbones/kit_backbone": {"secret": "open"}})
"""
)


def word(name):
    return f'@hookimpl\ndef det_conformance(): return {{"kit": "kit_package_parts:{name}"}}\n'


def test_package_gives_arguments_of_its_components(failures):
    assert failures(hook=WITH_A_HEAD + word("told"), parts=NEEDS_A_WORD) == {}


def test_invalid_conformance_settings_are_reported(failures):
    with pytest.raises(ConfigError, match="must lead to a Conformance; kit_package_parts:Model is a type"):
        failures(hook=GOOD_HOOK + word("Model"))


OFFERS_NOTHING = "from det_core.plugins.hooks import hookimpl\n@hookimpl\ndef det_recipes():\n    return {}\n"

BROKEN = {
    "raising": ({"hook": "1 / 0"}, IN_USE, "kit_package is broken: cannot be imported: ZeroDivisionError"),
    "nothing": ({"hook": OFFERS_NOTHING}, IN_USE, "it offers nothing; return names from one of the hooks"),
    "misnamed": (
        {"hook": GOOD_HOOK + "@hookimpl\ndef det_head():\n    return {}\n"},
        IN_USE,
        "det has no hook 'det_head'",
    ),
    "heavy": (
        {"hook": "import numpy\n" + GOOD_HOOK},
        "listing it imports no torch",
        "importing kit_package imports numpy; keep only hooks in that module",
    ),
    "unbound": ({"Requires_Dist": ""}, BOUNDED, "its requirements do not name det-core; write dependencies"),
    "open": ({"Requires_Dist": "det-core>=0.2"}, BOUNDED, "det-core>=0.2 is not bounded on both sides"),
    "pinned": (
        {"Requires_Dist": f"det-core=={metadata.version('det-core')}"},
        BOUNDED,
        "it pins one version, det-core==",
    ),
    "unlicensed": ({"License_Expression": ""}, DESCRIBED, 'its metadata lack license (such as license = "Apache-2.0")'),
    "nameless": ({"Summary": ""}, DESCRIBED, "its metadata lack description; add it under [project]"),
    "unread": ({"readme": ""}, DESCRIBED, "its metadata lack readme"),
    "any Python": ({"Requires_Python": ""}, DESCRIBED, "its metadata lack requires-python"),
    "no version": ({"Version": "one"}, DESCRIBED, "'one' is not a version; write one such as"),
    "misspelt": (
        {"recipe": GOOD_RECIPE.replace("width", "widht")},
        READ,
        "Model has no argument 'widht'; did you mean 'width'?",
    ),
    "silent": ({"recipe": GOOD_RECIPE.replace("summary", "#")}, "it has a summary", "it has no summary; write"),
    "placed": (
        {"parts": GOOD_PARTS + "        self.register_buffer('shift', torch.zeros(1, device='cpu'))\n"},
        META,
        "1 tensors are on another device, the first is shift",
    ),
    "reading": (
        {"parts": GOOD_PARTS + "        self.top = float(self.layer.weight.max())\n"},
        META,
        "Tensor.item() cannot be called on meta tensors",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_faulty_package_fails_one_check(failures, name):
    package, check, words = BROKEN[name]
    found = failures(**package)
    assert list(found) == [check], found
    assert words in found[check]


def test_recipe_resolving_to_another_model_is_reported(failures):
    parts = GOOD_PARTS.replace("nn.Linear(3, width)", "nn.ModuleList(nn.Linear(3, width) for _ in range(next(DEPTHS)))")
    found = failures(parts="import itertools\nDEPTHS = itertools.count(1)\n" + parts)
    assert list(found) == ["it resolves to the same recipe"], found
    assert "the resolved recipe builds another model, first at layer." in found["it resolves to the same recipe"]
