"""Writes docs/compatibility.md: packages by core, and backbone by head by exporter on a tiny image.

`python docs/compatibility.py` tries every pair, some minutes long; `--packages` writes the table of packages alone and
keeps the rest of the page.
"""

import argparse
import importlib.util
import re
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
PAIRS = "## Backbones and heads"
_SIDE, _LONGEST = 64, 160
_INTRODUCTION = """# What goes with what

Written by `python docs/compatibility.py`.

## Packages

Each package has a version of its own; what it requires of the others is what an installer sees. A package whose bounds
do not hold is listed by `det plugins` with the reason, and the others keep working.

"""
_PAIRS_TEXT = f"""{PAIRS}

Each pair is built small and given one image of {_SIDE} x {_SIDE} pixels, on a CPU. A number is the reason why a pair
cannot be; the names in a cell are the exporters whose file gives the answers of the model.

"""


def packages() -> set[str]:
    """The packages of this repository."""
    return {path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")}


def packages_table() -> str:
    """A row for each package: its version, the cores it allows, what else it requires of this repository."""
    projects = [
        tomllib.loads(path.read_text("utf-8"))["project"] for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
    ]
    names = {project["name"] for project in projects}
    lines = ["| package | version | det-core | further packages | extras |", "| --- | --- | --- | --- | --- |"]
    for project in projects:
        bounds = {re.split(r"[\[<>=~! ;]", each, maxsplit=1)[0]: each for each in project["dependencies"]}
        core = bounds.get("det-core", "").removeprefix("det-core") or "is itself"
        further = ", ".join(each for name, each in bounds.items() if name in names - {"det-core"}) or "none"
        extras = ", ".join(f"`{each}`" for each in project.get("optional-dependencies", {})) or "none"
        lines.append(f"| {project['name']} | {project['version']} | `{core}` | {further} | {extras} |")
    return "\n".join(lines) + "\n\n"


def subjects() -> dict[str, list[Any]]:
    """The backbones and heads of all installed plugins, with the small examples of their own conformance tests."""
    from det_core.plugins import catalog
    from det_devkit.conformance import conformance
    from det_devkit.conformance.run import cases_of

    found: dict[str, list[Any]] = {"backbones": [], "heads": []}
    active = {plugin.distribution for plugin in catalog().plugins if plugin.status == "active"}
    for distribution in sorted(active & packages()):
        kit = _conformance_of_core() if distribution == "det-core" else conformance(distribution)
        for case in cases_of(kit):
            kind = getattr(case.subject, "kind", "")
            if kind in found and case.subject not in found[kind]:
                found[kind].append(case.subject)
    return found


def _conformance_of_core() -> Any:
    folder = ROOT / "packages" / "det-core" / "tests"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("core_conformance", folder / "test_conformance.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.test_core


def detector(backbone: Any, head: Any) -> Any:
    """The simplest model of core that takes the head.

    Raises:
        LookupError: no model of core takes a head of its kind.
    """
    from det_core.plugins import registry
    from det_core.recipes import Factory

    def model(name: str, **arguments: Any) -> Any:
        return registry.find("models", f"det-core/{name}").load()(backbone.make(), num_classes=3, **arguments)

    part = Factory(partial(_made, head))
    stage = registry.find("heads", "det-core/standard_roi_heads").load()
    generator = Factory(registry.find("heads", "det-core/rpn").load())
    role = type(head.role).__name__
    if role == "DenseHeadRole":
        return model("dense_detector", head=part)
    if role == "SemanticHeadRole":
        return model("semantic_segmentor", sem_seg_head=part)
    if role == "RegionHeadRole":
        name = "keypoint_head" if "keypoint" in head.name else "mask_head"
        return model("rcnn", proposal_generator=generator, roi_heads=Factory(stage, heads={name: part}))
    if role == "ROIHeadsRole":
        return model("rcnn", proposal_generator=generator, roi_heads=part)
    if role in ("BoxHeadRole", "BoxPredictorRole"):
        name = "box_head" if role == "BoxHeadRole" else "box_predictor"
        return model("rcnn", proposal_generator=generator, roi_heads=Factory(stage, **{name: part}))
    if role == "ProposalGeneratorRole":
        return model("rcnn", proposal_generator=part, roi_heads=Factory(stage))
    raise LookupError("no model of core takes it")


def _made(head: Any, **given: Any) -> Any:
    """The head as its example makes it, with what the model gives to it."""
    return head.make(given=given)


def outcome(backbone: Any, head: Any) -> tuple[bool, str]:
    """Whether a pair predicts, and the exporters that write it, or the reason why not."""
    import torch
    from det_core.plugins import registry
    from det_core.structures import ImageBatch

    pixels = torch.randint(0, 255, (1, 3, _SIDE, _SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = ImageBatch(pixels=pixels, sizes=[(_SIDE, _SIDE)])
    try:
        model = detector(backbone, head).eval()
        with torch.no_grad():
            model(batch)
    except Exception as error:  # whatever the pair raises is the reason
        words = " ".join(str(error).split()) or type(error).__name__
        words = re.sub(r"; got \[.*", "", words.removeprefix("_made: "))  # whatever the numbers are
        return False, words if len(words) <= _LONGEST else words[: _LONGEST - 3] + "..."
    written = []
    for exporter in registry.components("exporters"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = exporter.load()()
                path = made.export(model, batch, Path(folder) / "model")
                made.run(path, batch)
                written.append(exporter.name)
            except Exception:  # a pair that this exporter does not write
                continue
    return True, ", ".join(written)


def pairs() -> str:
    """The tables of all pairs and the reasons."""
    found = subjects()
    reasons: dict[str, int] = {}
    lines: list[str] = []
    for backbone in found["backbones"]:
        cells = list(_cells(backbone, found["heads"], reasons))
        lines.append(f"| {backbone.plugin}/{backbone.name} | {' | '.join(cells)} |")
    names = [head.name for head in found["heads"]]
    header = [f"| backbone | {' | '.join(names)} |", f"| --- {'| --- ' * len(names)}|"]
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return _PAIRS_TEXT + "\n".join([*header, *lines, "", *notes]) + "\n"


def _cells(backbone: Any, heads: list[Any], reasons: dict[str, int]) -> Iterator[str]:
    for head in heads:
        works, words = outcome(backbone, head)
        yield (words or "yes") if works else str(reasons.setdefault(words, len(reasons) + 1))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", action="store_true", help="only the table of packages")
    only = parser.parse_args().packages
    if only:
        kept = PAGE.read_text("utf-8") if PAGE.exists() else ""
        below = kept[kept.index(PAIRS) :] if PAIRS in kept else ""
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            below = pairs()
    PAGE.write_text(_INTRODUCTION + packages_table() + below, "utf-8")


if __name__ == "__main__":
    main()
