"""The pages in docs say what is so: links lead somewhere, code runs, what is included or generated is up to date.

A fenced block is one of: `python run` and `sh run` (run here, in a folder with photographs, a detector and a recipe),
`text output` (what the block before it printed), `yaml recipe` (checked against what it calls), `sh` (its det commands
exist, with their options), `toml`, `text` (for reading), or included from a file of the repository, see
docs/include.py. Commands and code that are not run have the reason in a comment in the line above:
`<!-- not run: needs several GPUs -->`.
"""

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from det_core import recipes
from det_core.cli.main import det
from det_core.plugins import registry
from PIL import Image

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, *sorted(ROOT.glob("packages/*/README.md")), *sorted(ROOT.glob("examples/*/*.md"))]
FENCE = re.compile(r"^(?P<before>[^\n]*)\n```(?P<kind>[^\n]*)\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)
GENERATED = "hooks-and-contracts.md"
KINDS = {"python run", "text output", "yaml recipe", "sh run", "sh", "toml", "text"}
NOT_RUN = re.compile(r"<!-- not run: .{8,} -->")
RUN_BY = {"docs/first_day.md": "test_first_day_page.py", "README.md": "test_readme.py"}
FEW = " --set train.steps=1 --set train.batch_size=1 --set data.workers=0"


def name(path):
    return str(path.relative_to(ROOT))


def blocks(path):
    """(kind, content) of the fenced blocks that are not included from a file."""
    found = FENCE.finditer(path.read_text(encoding="utf-8"))
    return [(block["kind"], block["content"]) for block in found if not block["before"].startswith("<!-- include:")]


def all_blocks(*kinds, pages=(ROOT / "README.md", *(page for page in DOCS if page.name != GENERATED))):
    return [
        pytest.param(content, id=f"{name(page)}-{number}")
        for page in pages
        for number, (kind, content) in enumerate(blocks(page))
        if kind in kinds
    ]


def anchors(path):
    """What a link can point to within a page, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def include():
    """docs/include.py as a module."""
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_include", ROOT / "docs" / "include.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "docs"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


def test_every_page_is_listed_on_the_first():
    first = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in DOCS if page.parent.name == "docs"} - {"README.md"} <= set(
        re.findall(r"\(([\w-]+\.md)\)", first)
    )


@pytest.mark.parametrize("page", [page for page in DOCS if page.name != GENERATED], ids=name)
def test_every_block_of_code_is_run_checked_or_included(page):
    assert {kind for kind, _ in blocks(page)} <= KINDS


@pytest.mark.parametrize("page", DOCS, ids=name)
def test_included_file_equals_its_source(page, include):
    text = page.read_text(encoding="utf-8")
    assert include.refreshed(text) == text, "run `python docs/include.py`"


def test_including_fills_in_a_file_of_the_repository(include):
    page = "Before.\n<!-- include: ruff.toml -->\n```toml\nanything = 1\n```\nAfter."
    filled = include.refreshed(page)
    assert filled.startswith("Before.\n<!-- include: ruff.toml -->\n```toml\nline-length = 120\n")
    assert filled.endswith("\n```\nAfter.")
    assert include.refreshed(filled) == filled


def test_measured_runtimes_have_a_row_per_file(include, tmp_path, monkeypatch):
    tables = sys.modules["mobile_tables"]
    metrics = {"bbox/AP": 0.5, "bbox/AP50": 0.8, "bbox/AP75": 0.6}
    cells = {"costs": {"parameters": 10}, "onnx-fp32": {"megabytes": 8.0, "matched": 1.0, "test": metrics}}
    cells |= {"onnx-int8": {"megabytes": 2.0, "matched": 0.97, "test": metrics}, "aoti-fp32": {"error": "none"}}
    times = {"1": {"eager": 100.0, "onnx-fp32": 50.0, "onnx-int8": 20.0}, "2": {"eager": 60.0}}
    content = {"small": {"size": [64, 96], "cells": cells, "milliseconds": times}}
    (tmp_path / "mobile_table.json").write_text(json.dumps(content))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    page = include.refreshed("<!-- measured: runtimes -->\nold\n<!-- end of measured -->\n")
    assert "old" not in page
    assert page.splitlines()[4:8] == [
        "| `small`, eager float | 100 | 60 |  |  |  |  |",
        "| `small`, onnxruntime float | 50 |  | 2.0 | 8.0 |  | 100% |",
        "| `small`, onnxruntime int8 | 20 |  | 5.0 | 2.0 | 0.25 | 97% |",
        "| `small`, AOTInductor float | fails | fails | fails | fails | fails | fails |",
    ]
    assert include.refreshed(page) == page


def test_hooks_and_contracts_page_matches_code(include):
    assert (ROOT / "docs" / GENERATED).read_text(encoding="utf-8") == include.page(), "run `python docs/include.py`"


@pytest.mark.parametrize("page", [page for page in DOCS if "python run" in page.read_text(encoding="utf-8")], ids=name)
def test_code_on_page_runs_with_recorded_output(page, workplace, tmp_path, monkeypatch):
    for each in workplace.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    program = types.ModuleType("program")
    monkeypatch.setitem(sys.modules, "program", program)  # so that its classes can be pickled
    printed = None
    for kind, content in blocks(page):
        if kind == "python run":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(content, name(page), "exec"), vars(program))
            printed = output.getvalue()
        elif kind == "text output":
            assert printed == content


@pytest.mark.parametrize("content", all_blocks("yaml recipe"))
def test_recipe_on_page_fits_constructors_and_resolves(content, tmp_path):
    (tmp_path / "recipe.yaml").write_text(content)
    recipe = recipes.load(tmp_path / "recipe.yaml").check()
    assert recipes.recipe_from_tree(recipe.resolved().tree).resolved().tree == recipe.resolved().tree


@pytest.mark.parametrize("content", all_blocks("toml"))
def test_toml_on_a_page_is_toml(content):
    assert tomllib.loads(content)


@pytest.mark.parametrize("content", all_blocks("sh", "sh run", pages=PAGES))
def test_det_commands_on_page_exist_with_options(content):
    for line in content.splitlines():
        words = shlex.split(line.partition(" | ")[0], comments=True)
        words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        if words and Path(words[0]).name == "det":
            # The help is shown once the options are parsed, and before anything is done.
            result = CliRunner().invoke(det, [*words[1:], "--help"])
            assert result.exit_code == 0, f"{line}\n{result.output}"
            missing = [each for each in required_options(words[1:]) if not set(each.opts) & set(words)]
            assert not missing, f"{line}: needs {missing[0].opts[0]}"


def required_options(words):
    """The options without which the command of a line does nothing."""
    command, context = det, click.Context(det)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        if inner is None:
            break
        command, words = inner, words[1:]
    return [each for each in command.params if isinstance(each, click.Option) and each.required]


def is_code(content):
    """Whether a text is Python that imports or calls something."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Import | ast.ImportFrom | ast.Call) for node in nodes)


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != GENERATED and name(p) not in RUN_BY], ids=name)
def test_doc_blocks_are_run_or_have_a_stated_reason(page):
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        if block["kind"] == "sh" or (block["kind"] in ("text", "python") and is_code(block["content"])):
            included = block["before"].startswith("<!-- include:")
            assert included or NOT_RUN.fullmatch(block["before"]), block["content"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """What the pages assume: photographs, a film, the shipped detector as a run, a small recipe, a configuration."""
    folder = tmp_path_factory.mktemp("pages")
    cells = ROOT / "examples" / "blood-cells"
    (folder / "photos").mkdir()
    content = json.loads((cells / "instances_test.json").read_text())
    for split, images in (("train", content["images"][:6]), ("val", content["images"][6:8])):
        ids = {image["id"] for image in images}
        objects = [each for each in content["annotations"] if each["image_id"] in ids]
        part = {**content, "images": images, "annotations": objects}
        (folder / f"cells_{split}.json").write_text(json.dumps(part))
        for image in images:
            shutil.copy(cells / "images" / image["file_name"], folder / "photos")
    shutil.copy(cells / "images" / content["images"][0]["file_name"], folder / "photo.jpg")
    Image.open(folder / "photo.jpg").save(folder / "aerial.tif")
    make_film = ROOT / "examples" / "video" / "make_film.py"
    subprocess.run([sys.executable, make_film, folder / "photo.jpg", folder / "film.mp4"], check=True)
    (folder / "runs" / "cells").mkdir(parents=True)
    shutil.copy(cells / "detector.safetensors", folder / "runs" / "cells" / "best.safetensors")
    tree = dict(recipes.load(cells / "small.yaml").tree)
    tree["weights"] = None
    splits = {
        split: {"type": "coco", "images": "photos", "annotations": f"cells_{split}.json"} for split in ("train", "val")
    }
    tree["data"] = {**tree["data"], **splits, "test": None, "workers": 0}
    recipes.recipe_from_tree(tree).save(folder / "my_recipe.yaml")
    (folder / "my_config.yaml").write_text("MODEL: {ROI_HEADS: {NUM_CLASSES: 3}}\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("content", all_blocks("sh run", pages=PAGES))
def test_commands_on_page_run(content, workplace):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key != "DET_DATA"} | {"PATH": path}
    for line in content.splitlines():
        command = line + (FEW if line.startswith("det train") else "")
        command = command.replace("-o my_recipe.yaml", "-o imported.yaml")
        done = subprocess.run(command, shell=True, cwd=workplace, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_every_command_is_on_a_page():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    names = [each.name.partition(" .")[0] for each in registry.components("commands")]
    assert not [each for each in names if f"det {each}" not in text]
