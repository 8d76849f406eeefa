"""`det recipes show TYPE`: the arguments of a component."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.plugins import registry
from det_core.recipes import Factory
from det_inspect.components import describe, find, parts


class Part:
    """A part."""


def component(
    size: int,
    mode: Literal["a", "b"] = "a",
    names: Sequence[str] | None = None,
    part: Factory[Part] = Factory(Part),
    untyped=1,
    **more: Any,
) -> Mapping[str, int]:
    """Count.

    A second paragraph.

    Args:
        size, mode: two at once,
            in two lines.
        names: a pipe | and a colon: kept.

    Raises:
        part: is no entry of this.
    """
    return {}


def shown(*words):
    result = CliRunner().invoke(det, ["recipes", "show", *words])
    return result.exit_code, result.output


@pytest.fixture
def described(monkeypatch):
    monkeypatch.setitem(sys.modules, "counting", sys.modules[__name__])
    return describe(registry.Component("", "test", "", "counting:component"))


def test_describe_reads_types_defaults_and_docstring(described):
    assert described.about == "Count.\n\nA second paragraph."
    assert described.open
    rows = {each.name: (each.type, each.default, each.about) for each in described.parameters}
    assert rows["size"] == ("int", "", "two at once, in two lines.")
    assert rows["mode"] == ("a | b", "a", "two at once, in two lines.")
    assert rows["names"] == ("Sequence[str] | null", "null", "a pipe | and a colon: kept.")
    assert rows["part"][0] == "Part"
    assert rows["part"][2] == ""
    assert rows["untyped"] == ("any", "1", "")


def test_markdown_escapes_pipes_in_tables(described):
    rows = [line for line in described.markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == 5
    assert rows[1] == r"| `mode` | `a \| b` | `a` | two at once, in two lines. |"
    assert r"a pipe \| and a colon" in rows[2]
    assert "| required |" in rows[0]


@pytest.mark.parametrize("name", ["resnet", "det-core/resnet", "det_core.backbones:ResNet"])
def test_recipes_show_prints_arguments_of_component(name):
    code, output = shown(name)
    assert code == 0, output
    assert "freeze_at: int = 2" in output
    assert "excluded from training" in output


def test_recipes_show_prefers_recipe():
    code, output = shown("faster_rcnn_r50_fpn_1x")
    assert code == 0, output
    assert output.startswith("summary:")


def test_recipes_show_unknown_name_lists_near_ones():
    code, output = shown("faster_rcn_r50_fpn_1x")
    assert code == 2
    assert "did you mean" in output


@pytest.mark.parametrize("name", ["det_core.backbones:NoSuchThing", "det_core.nosuch:Thing", "a:b:c"])
def test_recipes_show_unknown_import_path_is_one_line(name):
    code, output = shown(name)
    assert code == 2
    assert output.startswith("error: ")
    assert len(output.splitlines()) == 1


def test_recipes_type_writes_markdown():
    result = CliRunner().invoke(det, ["recipes", "type", "fpn", "--markdown"])
    assert result.output.startswith("## det-core/fpn\n")
    assert "| `out_channels` | `int` | `256` |" in result.output


def test_parts_are_those_of_the_package_alone():
    targets = [each.target for each in parts("det-core")]
    assert "det_core.engine:Train" in targets
    assert not [target for target in targets if target.startswith("torch")]


def test_recipes_show_name_of_two_kinds_prints_both():
    code, output = shown("coco")
    assert code == 0, output
    assert "det-core/coco (det_core.data:CocoDataset)" in output
    assert "det-core/coco (det_core.evaluation:CocoEvaluator)" in output
    assert [each.kind for each in find("coco")] == ["datasets", "evaluators"]
