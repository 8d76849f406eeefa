"""The example plugin in its form for core 0.1: one clear message, and everything else works."""

from pathlib import Path

import pytest
from wheelwright import plugin_wheel

ACME = Path(__file__).parents[2] / "examples" / "det-acme" / "src" / "det_acme"


@pytest.fixture(scope="module")
def older(holding, wheels):
    source = (ACME / "plugin.py").read_text()
    recipe = (ACME / "recipes" / "acme_tiny_faster_rcnn.yaml").read_text()
    files = {"det_acme/__init__.py": "", "det_acme/recipes/acme_tiny_faster_rcnn.yaml": recipe}
    wheel = plugin_wheel(
        wheels, "det-acme", source, version="0.1.0", requires="det-core<0.2,>=0.1", point="det-acme", files=files
    )
    return holding(wheel)


def message(core: str) -> str:
    return f"needs det-core<0.2,>=0.1, but {core} is installed"


def test_plugin_for_older_core_is_listed_with_the_reason(older):
    plugins = older.plugins()
    assert plugins["det-acme"]["status"] == "incompatible"
    assert plugins["det-acme"]["problem"] == message(plugins["det-core"]["version"])


def test_plugin_for_older_core_is_named_on_use(older):
    core = older.plugins()["det-core"]["version"]
    result = older.det("recipes", "show", "acme_tiny_faster_rcnn")
    assert result.returncode == 2
    assert f"not in use: det-acme 0.1.0 ({message(core)})" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_plugin_for_older_core_stops_no_command(older):
    result = older.det("recipes", "show", "fcos_r50_fpn_1x")
    assert (result.returncode, result.stderr) == (0, "")
