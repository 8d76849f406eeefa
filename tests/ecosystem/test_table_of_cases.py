"""Each plugin that breaks the rules in its own way is named, and all of them together stop nothing."""

import json

import pytest
from wheelwright import plugin_wheel, write_wheel

BACKBONE = """
@hookimpl
def det_backbones():
    return {"NAME": "good_parts:Thing"}
"""
PARTS = "class Thing:\n    def __init__(self, width: int = 1) -> None:\n        self.width = width\n"
RECIPE = 'model: {type: "good_parts:Thing", width: 3}\n'

# Distribution: its module, and what `det plugins` says of it.
BROKEN = {
    "det-import-error": ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named"),
    "det-syntax-error": ("def (", "cannot be imported: SyntaxError"),
    "det-exits": ("import sys\nsys.exit(3)", "cannot be imported: RuntimeError: tried to end the program: SystemExit"),
    "det-raises": ("raise ValueError('no licence')", "cannot be imported: ValueError: no licence"),
}
HALF = {
    "det-hook-raises": ("@hookimpl\ndef det_heads(): 1 / 0", "det_heads raises ZeroDivisionError: division by zero"),
    "det-hook-exits": ("@hookimpl\ndef det_heads(): raise SystemExit", "det_heads raises RuntimeError: tried to end"),
    "det-hook-list": ("@hookimpl\ndef det_heads(): return ['a']", "det_heads must return"),
    "det-hook-number": ("@hookimpl\ndef det_heads(): return {'a': 3}", "det_heads offers 'a' as 3; a target reads"),
    "det-hook-unknown": (
        "@hookimpl\ndef det_head(): return {}",
        "det has no hook 'det_head'; did you mean 'det_heads'",
    ),
    "det-hook-unmarked": ("def det_heads(): return {}", "det_heads is not marked with @hookimpl"),
    "det-torch": ("import torch", "det_torch imports torch to be listed"),
}


@pytest.fixture(scope="module")
def crowd(holding, wheels):
    """The environment with one plugin of each kind at once, a good one among them."""
    good = 'import sys\n@hookimpl\ndef det_recipes(): return {"good_recipe": "good_parts:r.yaml"}\n'
    parts = {"good_parts/__init__.py": PARTS, "good_parts/r.yaml": RECIPE}
    made = [
        plugin_wheel(wheels, "det-good", good + BACKBONE.replace("NAME", "good"), files=parts),
        plugin_wheel(wheels, "det-old", "raise ValueError('imported')", requires="det-core<0.0.1"),
        plugin_wheel(wheels, "det-loud", "print('HELLO')\n" + BACKBONE.replace("NAME", "loud")),
        plugin_wheel(wheels, "det-same-one", BACKBONE.replace("NAME", "one"), point="same"),
        plugin_wheel(wheels, "det-same-two", BACKBONE.replace("NAME", "two"), point="same"),
        *(plugin_wheel(wheels, name, source) for name, (source, _) in BROKEN.items()),
        *(plugin_wheel(wheels, name, source + BACKBONE.replace("NAME", name)) for name, (source, _) in HALF.items()),
        # Nothing here needs torch itself; a stand-in shows who imports it.
        write_wheel(wheels, "torch", {"torch.py": ""}, version="2.15.0"),
    ]
    return holding(*made)


@pytest.fixture(scope="module")
def listed(crowd):
    return crowd.plugins()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugin_is_skipped_and_recorded(listed, name):
    assert listed[name]["status"] == "broken"
    assert BROKEN[name][1] in listed[name]["problem"]
    assert listed[name]["components"] == {}


@pytest.mark.parametrize("name", HALF)
def test_plugin_with_invalid_hook_keeps_valid_ones(listed, name):
    assert listed[name]["status"] == "active"
    assert HALF[name][1] in listed[name]["problem"]
    assert listed[name]["components"]["backbones"] == {name: "good_parts:Thing"}


def test_plugin_for_another_core_is_skipped_before_import(listed):
    assert listed["det-old"]["status"] == "incompatible"
    assert listed["det-old"]["problem"].startswith("needs det-core<0.0.1, but ")


def test_distributions_sharing_entry_point_name_are_both_active(listed):
    assert listed["det-same-one"]["components"] == {"backbones": {"one": "good_parts:Thing"}}
    assert listed["det-same-two"]["components"] == {"backbones": {"two": "good_parts:Thing"}}


def test_plugin_output_on_import_goes_to_stderr(crowd):
    result = crowd.det("plugins", "--json")
    assert result.returncode == 0
    assert "HELLO" in result.stderr
    assert {"det-core", "det-good", "det-loud"} <= {p["distribution"] for p in json.loads(result.stdout)["plugins"]}


def test_valid_plugin_works_beside_broken_ones_which_are_reported(crowd):
    result = crowd.code(
        """
        from det_core.recipes import check as config
        from det_core.plugins import registry
        from det_core.errors import UnknownNameError

        assert config.check({"type": "det-good/good", "width": 5}).build().width == 5
        try:
            registry.find("backbones", "goood")
        except UnknownNameError as error:
            print(error)
        """
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("backbone 'goood': is not known; not in use: ")
    assert "did you mean 'good'" in result.stdout
    for name in (*BROKEN, "det-old"):
        assert f"{name} 1.0 (" in result.stdout


def test_plain_listing_names_every_problem(crowd):
    result = crowd.det("plugins")
    assert result.returncode == 0
    page = " ".join(result.stdout.split())
    for name, (_, words) in {**BROKEN, **HALF}.items():
        assert f"{name} 1.0: {words}" in page


def test_plugin_recipe_is_listed_and_shown(crowd):
    assert "good_recipe" in crowd.det("recipes").stdout.split()
    shown = crowd.det("recipes", "show", "det-good/good_recipe", "--set", "model.width=4")
    assert shown.stdout == "model:\n  type: good_parts:Thing\n  width: 4\n"


def test_plugins_that_are_switched_off_are_not_imported(crowd):
    names = [*BROKEN, "Det_Loud", "det-torch"]
    result = crowd.det("plugins", "--json", DET_DISABLE_PLUGINS=",".join(names))
    assert "HELLO" not in result.stderr
    plugins = {plugin["distribution"]: plugin for plugin in json.loads(result.stdout)["plugins"]}
    for name in (*BROKEN, "det-loud", "det-torch"):
        assert (plugins[name]["status"], plugins[name]["problem"]) == (
            "disabled",
            "switched off by DET_DISABLE_PLUGINS",
        )
    assert plugins["det-good"]["status"] == "active"


def test_doctor_has_command_for_each_problem(crowd):
    result = crowd.det("plugins", "doctor", "--json")
    assert result.returncode == 1
    problems = {found["where"]: found for found in json.loads(result.stdout)["problems"]}
    for name in (*BROKEN, *HALF, "det-old"):
        assert problems[f"{name} 1.0"]["fix"], name
    again = problems["det-raises 1.0"]["fix"]
    assert again.startswith("pip install --force-reinstall --no-deps ")
    assert "det_raises-1.0-py3-none-any.whl" in again
    assert problems["torchvision"]["problem"].startswith("det needs torchvision")
