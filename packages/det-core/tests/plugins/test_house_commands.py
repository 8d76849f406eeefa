"""`det plugins` and `det recipes`: readable, without torch, one sentence and exit code 2 for what is wrong."""

import json
import os
import re
import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.plugins import known, registry
from PIL import Image

# Run by every interpreter started below, before anything else: what the torch-free half must not import.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""
HEAVY = ("torch", "torchvision", "numpy", "pydantic", "rich", "PIL", "pycocotools", "safetensors", "matplotlib")
RECIPE = "summary: Small.\nmodel: {type: rcnn, num_classes: 3}\n"


@pytest.fixture
def run():
    def do(*arguments: str):
        return CliRunner().invoke(det, list(arguments))

    return do


@pytest.fixture
def without_torch(tmp_path):
    """Runs `det` in an interpreter in which nothing heavy can be imported."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(blocked=HEAVY))

    def do(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(tmp_path), environment.pop("PYTHONPATH", "")]).rstrip(os.pathsep)
        code = "from det_core.cli.main import main; main()"
        everything = {**os.environ, "PYTHONPATH": path, **environment}
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=everything, capture_output=True, text=True, check=False)

    return do


def test_help_lists_commands_one_per_line(run):
    result = run("--help")
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split()[1:] for line in result.output.partition("Commands:")[2].splitlines() if line}
    for component in registry.components("commands"):
        if " " not in component.name:
            assert lines[component.name], component.name


def test_plugin_command_is_listed_without_import(run, install, site):
    source = """
        import click
        raise RuntimeError("imported")
        @click.command()
        def command():
            \"\"\"Greets somebody. And more.\"\"\"
    """
    (site / "lab_commands.py").write_text(textwrap.dedent(source))
    names = {"greet": "lab_commands:command", "greetings all": "lab_commands:command"}
    install("det-lab", f"@hookimpl\ndef det_commands(): return {names!r}")
    output = run("--help").output
    assert "greet       Greets somebody.\n" in output
    assert "  greetings" in output
    result = run("greet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'lab_commands' cannot be imported; RuntimeError: imported" in result.stderr


def test_two_word_name_is_subcommand_of_existing_group(run, install, site):
    source = """
        import click
        @click.command()
        @click.argument("name")
        def command(name):
            \"\"\"Greets NAME.\"\"\"
            click.echo(f"hello {name}")
    """
    (site / "lab_commands.py").write_text(textwrap.dedent(source))
    names = dict.fromkeys(("recipes greet", "greetings one"), "lab_commands:command")
    install("det-lab", f"@hookimpl\ndef det_commands(): return {names!r}")
    assert run("recipes", "greet", "you").output == run("greetings", "one", "you").output == "hello you\n"
    listed = run("recipes", "--help").output
    assert "Greets NAME." in listed
    assert "Print the recipe NAME" in listed
    assert run("recipes", "show", "fcos_r50_fpn_1x").exit_code == 0
    assert "Greets NAME." in run("greetings", "--help").output


def test_command_is_taken_over_for_files_of_a_suffix(run, install, site):
    source = """
        import click
        @click.command()
        @click.argument("name")
        @click.option("--loud", is_flag=True)
        def command(name, loud):
            click.echo(f"flies through {name} {loud}")
    """
    (site / "lab_commands.py").write_text(textwrap.dedent(source))
    install("det-lab", '@hookimpl\ndef det_commands(): return {"predict .flic": "lab_commands:command"}')
    assert run("predict", "--loud", "A.FLIC").output == "flies through A.FLIC True\n"
    assert "Missing option '--model'" in run("predict", "a.png").stderr
    assert "predict" in run("--help").output


def test_command_of_two_plugins_is_refused_on_use(run, install, site):
    for number in (1, 2):
        install(f"det-lab{number}", '@hookimpl\ndef det_commands(): return {"greet": "lab_commands:command"}')
    assert run("--help").exit_code == 0
    result = run("greet")
    assert result.exit_code == 2
    assert "write 'det-lab1/greet' or 'det-lab2/greet'" in result.stderr


# "train --watch" is no option: its callbacks run in every training where the package is installed.
@pytest.mark.parametrize(
    ("words", "package"), [(name.split(), each) for name, each in known.COMMANDS.items() if name != "train --watch"]
)
def test_command_of_missing_package_names_package(run, without, tmp_path, words, package):
    without(package)
    image = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(image)
    if words == ["data"] and "data" in {each.name for each in registry.components("commands")}:
        pytest.skip("core brings it")
    values = {
        "--dry-run": ["fcos_r50_fpn_1x"],
        "--overfit": ["2", "fcos_r50_fpn_1x"],
        "--predictions": ["a.json", "--annotations", "b.json"],
        "--scale-lr": ["fcos_r50_fpn_1x"],
        "--tile": ["800", str(image), "--model", "fcos_r50_fpn_1x"],
    }
    words = [f"file{word}" if word.startswith(".") else word for word in words]
    result = run(*(word.replace("DATA", ".") for word in words), *values.get(words[-1], []))
    assert result.exit_code == 2
    assert f"{package} would provide it: pip install {package}" in result.stderr


def test_unknown_command_gets_suggestion(run):
    result = run("plugin")
    assert result.exit_code == 2
    assert "did you mean 'plugins'" in result.output


def test_version_is_package_version(run):
    assert run("--version").output.startswith("det, version ")


def test_plugins_are_listed_with_their_components(run):
    result = run("plugins")
    assert result.exit_code == 0
    assert "det-core" in result.output
    assert "backbones" in result.output
    assert "resnet" in result.output


def test_plugins_json_is_valid_despite_plugin_output(run, install):
    install("det-loud", "print('HELLO')\n@hookimpl\ndef det_heads(): return {'loud': 'loud:Loud'}")
    install("det-broken", "1 / 0")
    from det_core import plugins

    plugins._catalog = None
    result = run("plugins", "--json")
    assert result.exit_code == 0
    listed = json.loads(result.stdout)
    by_name = {plugin["distribution"]: plugin for plugin in listed["plugins"]}
    assert by_name["det-loud"]["components"] == {"heads": {"loud": "loud:Loud"}}
    assert by_name["det-broken"]["status"] == "broken"
    assert listed["problems"] == [f"det-broken 1.0: {by_name['det-broken']['problem']}"]


def test_plugins_check_imports_targets_and_exits_1_on_problem(run, install, site):
    (site / "lab.py").write_text("print('HELLO')\ndef good(): pass\ndef loose(**anything): pass\n")
    names = {"good": "lab:good", "gone": "lab:gone", "loose": "lab:loose"}
    install("det-lab", f"@hookimpl\ndef det_heads(): return {names!r}")
    assert run("plugins").exit_code == 0
    result = run("plugins", "--check", "--json")
    assert result.exit_code == 1
    problems = json.loads(result.stdout)["problems"]
    assert [problem for problem in problems if problem.startswith("det-lab/")] == [
        "det-lab/gone: 'lab' has no 'gone'",
        "det-lab/loose: takes **kwargs, so misspelt arguments would pass unseen",
    ]


def test_plugins_check_skips_extensions_of_absent_packages(run, install, without):
    hooks = [f"@hookimpl\ndef {hook}(): return {{{name!r}: 'no_such_module:it'}}" for hook, name in (
        ("det_importers", "detectron2.lab"), ("det_conformance", "lab")
    )]  # fmt: skip
    install("det-lab", "\n\n".join(hooks))
    named = [p for p in json.loads(run("plugins", "--check", "--json").stdout)["problems"] if "no_such_module" in p]
    without("det-detectron2", "det-devkit")
    left = [p for p in json.loads(run("plugins", "--check", "--json").stdout)["problems"] if "no_such_module" in p]
    assert (len(named) > 0, left) == (True, [])


def test_core_components_can_be_imported(run):
    problems = json.loads(run("plugins", "--check", "--json").stdout)["problems"]
    assert [problem for problem in problems if problem.startswith("det-core")] == []


def test_recipe_show_applies_overrides(run, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    result = run("recipes", "show", str(path), "--set", "model.num_classes=7")
    assert result.exit_code == 0
    assert result.output == "summary: Small.\nmodel:\n  type: rcnn\n  num_classes: 7\n"


@pytest.mark.parametrize(
    ("content", "changes", "words"),
    [
        (b"", [], "is empty"),
        (b"\x00\xff", [], "is not a text file"),
        (b"[1]", [], "is not a recipe"),
        (b"model: {a: 1, a: 2}", [], "the key 'a' stands twice"),
        (b"a: &a [*a]", [], "nested deeper"),
        (b"extends: r.yaml", [], "its parents form a circle"),
        (b"modell: {}", [], "did you mean 'model'?"),
        (b"model: {type: no_such_model}", ["--resolved"], "there is no model named 'no_such_model'"),
        (b"model: {type: rcnn}", ["--set", "model.clases=1"], "RCNN has no argument 'clases'"),
        (b"model: {type: rcnn}", ["--resolved"], "RCNN needs 'backbone' and"),
    ],
)
def test_invalid_recipe_prints_one_sentence_and_exits_2(run, tmp_path, content, changes, words):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    result = run("recipes", "show", str(path), *changes)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_traceback_is_printed_on_request(run):
    result = run("--traceback", "recipes", "show", "no_such_recipe")
    assert type(result.exception).__name__ == "UnknownNameError"


def test_recipes_are_listed_with_summaries_and_aliases(run, install, site):
    (site / "zoo_of_this_test").mkdir()
    (site / "zoo_of_this_test" / "__init__.py").write_text("")
    (site / "zoo_of_this_test" / "a.yaml").write_text(RECIPE)
    names = dict.fromkeys(("small_net", "Small-Detection/NET"), "zoo_of_this_test:a.yaml")
    install("det-zoo", f"@hookimpl\ndef det_recipes(): return {names!r}")
    lines = [line.split() for line in run("recipes").output.splitlines()]
    assert ["small_net", "Small."] in lines
    assert ["also", "Small-Detection/NET"] in lines


def test_plugins_and_recipes_work_without_torch(without_torch, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    for arguments in (["--help"], ["plugins"], ["plugins", "--json"], ["recipes"]):
        result = without_torch(*arguments)
        assert (result.returncode, result.stderr) == (0, ""), arguments
    result = without_torch("recipes", "show", str(path), "--set", "model.num_classes=4")
    assert (result.returncode, result.stderr) == (0, "")
    assert "num_classes: 4" in result.stdout


def test_commands_needing_torch_report_it_without_torch(without_torch, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    result = without_torch("recipes", "show", str(path), "--resolved")
    assert result.returncode == 2
    assert result.stderr.startswith("error: model: ")
    assert re.search("it needs the module '(torch|numpy)'", result.stderr)


def test_command_with_missing_library_names_it(run, site, install):
    (site / "needy.py").write_text("import no_such_library")
    install("det-lab", '@hookimpl\ndef det_commands(): return {"needy": "needy:command"}')
    result = run("needy")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "det needy: 'needy' cannot be imported; it needs the module 'no_such_library'" in result.stderr


def test_plugins_check_without_torch_reports_missing(without_torch):
    result = without_torch("plugins", "--check")
    assert result.returncode == 1
    assert "it needs the module 'torch'" in " ".join(result.stdout.split())
    assert result.stderr == ""
