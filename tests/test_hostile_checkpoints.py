"""Checkpoints from strangers are refused before anything that they name is imported or run, and leave no trace."""

import subprocess
import sys
from pathlib import Path

import pytest

# Runs in a process of its own: an audit hook cannot be taken away again. What det needs is imported before it watches.
CODE = r'''
import importlib, json, pkgutil, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
from torch import nn
import det_core
from det_core import recipes
from det_core.engine.checkpoint import Checkpoint, save_checkpoint
from det_core.errors import DetError
from det_core.plugins import catalog, registry
from det_core.predict import Detector
from det_core.recipes import allow_list

def modules():
    roots = {plugin.module.partition(".")[0] for plugin in catalog().plugins}
    for root in sorted(roots):
        package = importlib.import_module(root)
        for info in pkgutil.walk_packages(package.__path__, f"{root}."):
            if not info.name.endswith("__main__") and "pytest" not in info.name:
                try:
                    yield importlib.import_module(info.name)
                except ModuleNotFoundError as error:
                    if error.name != "torchao":  # an extra of det-export
                        raise

listed = allow_list.listed()
safe = {id(registry.import_target(path)) for path in listed}
names, spellings = [], {}
for module in modules():
    for name, value in vars(module).items():
        if callable(value) and id(value) not in safe and not name.startswith("__"):
            spellings.setdefault(id(value), []).append(f"{module.__name__}:{name}")
# Each thing that is re-exported, by the first and the last of its spellings, and what is there without us.
for several in spellings.values():
    names += dict.fromkeys((several[0], several[-1]))
attributes = [f"{name}.{each}" for name in ("det_core.data.images:Path", "torch.nn:Module", "torch.nn:ReLU")
              for each in ("write_text", "mkdir", "__subclasses__", "mro", "__init__.__globals__")]
machinery = """os:system builtins:exec builtins:eval builtins:__import__ subprocess:run shutil:rmtree pathlib:Path
importlib:import_module torch:load torch:save torch.hub:load torch.hub:download_url_to_file numpy:load numpy:save
torch.utils.cpp_extension:load test.support:import_helper pickle:loads webbrowser:open this:9 this:s antigravity:fly
det_core:Detector.load det_core.predict.detector:Detector.load det_core.recipes.recipe:load yaml:unsafe_load
det_core.recipes.nodes:Factory det_core.plugins.registry:import_target functools:partial operator:attrgetter
torch.nn:DataParallel torch.nn.modules.module:register_module_forward_hook ctypes:CDLL stranger:Net stranger.deep:N
torchvision.datasets:ImageFolder torchvision.io:write_file torchvision.models:resnet18 PIL.Image:open pip:go""".split()
odd = ["os: system", "os:system ", "os::system", "os:system.", ":system", "os:", "os.:system", ".os:system",
       "os:sys\ntem", "OS:system", "det-core/os:system", "os/system", "os:system:x", "det_core.data:../x", "json",
       "det-core/recipes", "det-devkit/new-plugin", "det-core/train", "detectron2", "pictures", "\uff4f\uff53:system"]
names += [*machinery, *attributes, *odd]

def trees(name):
    node = {"type": name, "self": "HARM", "data": "x", "path": "HARM", "file": "HARM", "trust": True}
    bare = {"type": name}
    rcnn = {"type": "rcnn", "num_classes": 1}
    yield {"model": node}
    yield {"model": bare}
    yield {"model": {**rcnn, "backbone": bare}}
    yield {"model": {**rcnn, "backbone": {"type": "fpn", "bottom_up": bare}}}
    yield {"model": {"type": "torch.nn:Identity"}, "data": {"eval_transforms": [bare]}}
    part = {"type": "torchvision.transforms.v2:RandomApply", "transforms": [bare]}
    yield {"model": {"type": "torch.nn:Identity"}, "data": {"eval_transforms": [part]}}

parents = ["any:x.yaml", "stranger:x.yaml", "/etc/passwd", "../x.yaml", "HARM.yaml", "file:///etc/passwd", "os:x.yaml",
           "det_core:errors.py", "det_core:../../x.yaml", "/proc/self/environ", "stranger.yaml"]

folder = Path(sys.argv[1])
def checkpoint(tree, number):
    path = folder / f"{number}.safetensors"
    save_checkpoint(path, nn.Linear(1, 1), Checkpoint(recipe=json.dumps(tree), classes=["cell"]))
    return path

# All names in every place by the gate itself; whole files for every name once, in turn at each place.
cases = [(tree, None) for name in names for tree in trees(name)]
files = [checkpoint([*trees(name)][number % 6], number) for number, name in enumerate(names)]
files += [checkpoint({"extends": parent}, f"parent{number}") for number, parent in enumerate(parents)]
# A sound recipe and a sound file import what judging and loading need.
sound = recipes.load("faster_rcnn_r50_fpn_1x").resolved()
recipes.recipe_from_tree(sound.tree, trusted=False).check()
try:
    Detector.load(checkpoint({"model": {"type": "torch.nn:Identity"}}, "warm"), device="cpu")
except DetError:
    pass
for root in ("det_core", "torch", "torchvision", "os", "stranger", *{path.partition(".")[0] for path in listed}):
    list(allow_list._objects(root, ("", "heads", "models", "backbones")))
    allow_list._is_closed(root)
for name in names:
    allow_list._is_closed(name.partition(":")[0].partition(".")[0])

events, watching, allowed = [], False, ()
STARTS = ("os.", "shutil.", "subprocess.", "socket.", "urllib.", "ctypes.", "tempfile.", "webbrowser.", "import")
def hook(event, arguments):
    if not watching or event in ("os.listdir", "os.scandir"):
        return
    if event == "open" and isinstance(arguments[0], int):  # a descriptor, whose own opening was seen by its path
        return
    if event == "open" and str(arguments[0]) not in allowed or event.startswith(STARTS):
        events.append((event, [str(each)[:100] for each in arguments]))
sys.addaudithook(hook)

refused = 0
for tree, _ in cases:
    watching = True
    try:
        recipe = recipes.recipe_from_tree(tree, trusted=False)
        recipe.build_part("data.eval_transforms", list)
        recipe.build_model()
        raise SystemExit(f"not refused: {tree}")
    except DetError:
        refused += 1
    finally:
        watching = False
    assert not events, (tree, events)
for path in files:
    watching, allowed = True, (str(path),)
    try:
        Detector.load(path, device="cpu")
        raise SystemExit(f"not refused: {path}")
    except DetError as error:
        assert "root:" not in str(error), error
        refused += 1
    finally:
        watching = False
    assert not events, (path, events)
print(len(names), refused)
'''


def test_hostile_checkpoints_are_refused_and_leave_no_trace(tmp_path: Path):
    pytest.importorskip("torch")
    (tmp_path / "work").mkdir()
    (tmp_path / "files").mkdir()
    site = tmp_path / "site"
    site.mkdir()
    (site / "stranger.py").write_text("from pathlib import Path\nPath('HARM').touch()\n")
    (tmp_path / "work" / "stranger.yaml").write_text("model: {type: rcnn}\n")
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(site)!r})\n{CODE}", str(tmp_path / "files")],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    names, refused = map(int, run.stdout.split())
    assert names > 300
    assert refused > 6 * names
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["stranger.yaml"]
