"""What an untrusted recipe may build computes: it neither writes, downloads, imports by name nor starts anything."""

import ast
import functools
import importlib
import inspect
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import pytest
from det_core.plugins import registry
from det_core.recipes import Factory
from det_core.recipes.allow_list import listed, untrusted
from det_core.recipes.construct import class_of
from det_core.recipes.signatures import signature_of, unwrapped

PACKAGES = sorted(
    {
        point.value.partition(".")[0].partition(":")[0]
        for point in metadata.entry_points(group="det")
        if point.dist is not None and point.dist.name.startswith("det-")
    }
)
# What a call must not be named, as the last part of what is called, and whose reading is fine for datasets.
WRITES = {
    *("write_text", "write_bytes", "mkdir", "makedirs", "unlink", "rmtree", "symlink_to", "hardlink_to", "rename"),
    *("touch", "chmod", "mkstemp", "NamedTemporaryFile", "TemporaryDirectory", "save_file", "copyfile", "copy2"),
    *("urlopen", "urlretrieve", "hf_hub_download", "load_state_dict_from_url", "fetch"),
    *("Popen", "check_call", "check_output", "system", "execv", "spawnv", "fork", "startfile"),
    *("import_module", "__import__", "exec", "eval", "run_module", "run_path", "compile_command"),
}
READS = {"open", "read_text", "read_bytes", "read_image", "imread", "mmap"}
# What judges names and calls what was judged.
MACHINERY = ("det_core.plugins.", "det_core.recipes.")
# (class, method): called by who trains, with a recipe of their own; neither by building nor by predicting.
NOT_BUILDING = {
    *(("FederatedClasses", "weights"), ("InitialWeights", "load")),
    *(("BodyFolder", name) for name in ("body", "charts", "chart_distances", "uv_transforms", "_lazy")),
}


def own(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] in PACKAGES


@functools.cache
def reached(value: Any) -> frozenset[str]:
    """The names that the source of a callable calls, through functions and classes of our packages too."""
    names: set[str] = set()
    waiting, visited = [value], set()
    while waiting:
        each = waiting.pop()
        while isinstance(each, functools.partial):
            each = each.func
        if id(each) in visited or not own(each) or each.__module__.startswith(MACHINERY):
            continue
        visited.add(id(each))
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        except (OSError, TypeError):
            continue
        module = vars(sys.modules[each.__module__])
        for node in walk(tree):
            if isinstance(node, ast.Call):
                function = node.func
                if isinstance(function, ast.Name):
                    names.add(function.id)
                elif isinstance(function, ast.Attribute) and function.attr != "eval":  # a module's mode
                    names.add(function.attr)
            if isinstance(node, ast.Name) and callable(module.get(node.id)):
                waiting.append(module[node.id])
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                holder = module.get(node.value.id)
                if inspect.ismodule(holder) and callable(vars(holder).get(node.attr)):
                    waiting.append(vars(holder)[node.attr])
        if isinstance(each, type):
            waiting.extend(each.__mro__[1:])
    return frozenset(names)


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of methods that building does not call, and of annotations."""
    for node in ast.iter_child_nodes(tree):
        holder = getattr(tree, "name", "")
        if isinstance(node, ast.FunctionDef) and (holder, node.name) in NOT_BUILDING:
            continue
        if isinstance(node, ast.arg):
            continue
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        yield node
        yield from walk(node)


def public_callables() -> list[Any]:
    """Every public function and class that a module of our packages defines."""
    found = []
    for package in PACKAGES:
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            if info.name.endswith("__main__") or "pytest" in info.name:
                continue
            try:
                module = importlib.import_module(info.name)
            except ModuleNotFoundError as error:
                if error.name != "torchao":  # an extra of det-export
                    raise
                continue
            found += [
                value
                for name, value in vars(module).items()
                if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == info.name
            ]
    return found


def test_listed_public_callables_have_no_side_effects():
    paths = {id(registry.import_target(path)): (path, kind) for path, kind in listed().items() if own_path(path)}
    harmful, found, on_the_lists = [], {}, 0
    everything = public_callables()
    for value in everything:
        forbidden = reached(value) & (WRITES | READS)
        path, kind = paths.get(id(value), ("", ""))
        if not path:
            harmful.append(bool(forbidden))
            continue
        on_the_lists += 1
        if kind == "datasets":  # which read what they are there for
            forbidden -= READS
        if forbidden and kind not in ("evaluators", "exporters"):
            found[path] = sorted(forbidden)
    for value in implied(registry.import_target(path) for path, kind in listed().items() if kind != "datasets"):
        if forbidden := reached(value) & (WRITES | READS):
            found[f"{value.__module__}:{value.__qualname__}"] = sorted(forbidden)
    assert found == {}
    assert len(everything) > 500
    assert on_the_lists > 60
    assert sum(harmful) > 50  # the check finds what it looks for, elsewhere


def implied(targets: Iterator[Any]) -> list[type]:
    """The classes of our packages that the annotations of these callables imply, and those of theirs."""
    found: dict[int, type] = {}
    waiting = list(targets)
    while waiting:
        for argument in signature_of(waiting.pop()).arguments.values():
            parts = [argument.annotation]
            while parts:
                plain = unwrapped(parts.pop())
                parts += [part for part in get_args(plain) if part is not Ellipsis]
                value = class_of(plain)
                if value is not None and own(value) and value is not Factory and id(value) not in found:
                    found[id(value)] = value
                    waiting.append(value)
    return list(found.values())


def own_path(path: str) -> bool:
    return path.partition(".")[0] in PACKAGES


def test_listed_paths_are_callable():
    assert [path for path in listed() if not callable(registry.import_target(path))] == []


BUILD = """
import contextlib, importlib, sys, warnings
warnings.simplefilter("ignore")
import torch, torch._dynamo, torch.fx  # what torch imports when it is first used
for name in ("timm", "wandb"):  # timm imports wandb where it is installed, which opens files of its own
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
from det_core.plugins import registry
from det_core.recipes.allow_list import listed
from det_core.recipes.signatures import signature_of

targets = {
    path: registry.import_target(path) for path, kind in listed().items() if kind not in ("evaluators", "exporters")
}
SAMPLES = {"channels": {"p3": 4, "p4": 4}, "strides": {"p3": 8, "p4": 16}, "num_classes": 2, "name": "x", "size": 8}
STARTS = ("os.", "shutil.", "subprocess.", "socket.", "urllib.", "ctypes.dlopen", "tempfile.", "webbrowser.")
events, watching = [], False

def hook(event, arguments):
    started = event.startswith(STARTS) and event not in ("os.listdir", "os.scandir")
    if watching and (started or writes(event, arguments)):
        events.append((event, [str(each)[:80] for each in arguments]))

def writes(event, arguments):
    if event != "open":
        return False
    return any(letter in (arguments[1] or "") for letter in "wax+") or bool((arguments[2] or 0) & 3)

sys.addaudithook(hook)
built = 0
for path, target in targets.items():
    required = [name for name, each in signature_of(target).arguments.items() if each.required]
    arguments = {name: SAMPLES[name] for name in required if name in SAMPLES}
    watching = True
    try:
        with torch.device("meta"):
            target(**arguments)
        built += 1
    except Exception:
        pass
    watching = False
    assert not events, (path, events)
print("built", built)
"""


def test_building_listed_parts_with_defaults_has_no_effects(tmp_path: Path):
    pytest.importorskip("torch")
    run = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout.split()[-1]) > 120
    assert list(tmp_path.iterdir()) == []


def test_exporters_are_no_part_of_an_untrusted_recipe():
    sections = [untrusted(section) for section in ("model", "data", "train", "weights", "data.eval_transforms")]
    assert not any("exporters" in each.kinds or each.user_code for each in sections)
