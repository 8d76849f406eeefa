"""Writes docs/compatibility.md: required versions of packages, and pairs of backbone and head on a tiny image.

`python docs/compatibility.py` tries every pair, some minutes long; `--packages` writes the table of packages alone and
keeps the rest of the page.
"""

import argparse
import importlib.util
import re
import sys
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
_INTRODUCTION = """# Compatibility

Written by `python docs/compatibility.py`.

## Packages

Packages are versioned separately. The table has the versions of other packages that each requires, which pip checks,
and its extras. If an installed package does not meet them, `det plugins` lists the reason, and the other packages keep
working.

"""
_PAIRS_TEXT = f"""{PAIRS}

For each pair, the script builds a small model of a backbone (row) and a head (column), and predicts on an image of
{_SIDE} x {_SIDE} pixels. A number in place of "yes" refers to the error below the table. Backbones whose levels differ
in channels need a feature pyramid for most heads: `fpn` or `simple_feature_pyramid`, with the backbone as `bottom_up`
or `net`.

"""


def packages() -> set[str]:
    """The packages of this repository."""
    return {path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")}


def packages_table() -> str:
    """A row for each package: its version, the versions of det-core and other packages that it requires, its extras."""
    projects = [
        tomllib.loads(path.read_text("utf-8"))["project"] for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
    ]
    names = {project["name"] for project in projects}
    lines = ["| package | version | requires det-core | requires | extras |", "| --- | --- | --- | --- | --- |"]
    for project in projects:
        bounds = {re.split(r"[\[<>=~! ;]", each, maxsplit=1)[0]: each for each in project["dependencies"]}
        core = bounds.get("det-core", "").removeprefix("det-core") or "none"
        others = ", ".join(each for name, each in bounds.items() if name in names - {"det-core"}) or "none"
        extras = ", ".join(f"`{each}`" for each in project.get("optional-dependencies", {})) or "none"
        lines.append(f"| {project['name']} | {project['version']} | `{core}` | {others} | {extras} |")
    return "\n".join(lines) + "\n\n"


def subjects() -> dict[str, list[Any]]:
    """The backbones and heads of all installed plugins, with the small examples of their own conformance tests."""
    from det_core.plugins import catalog
    from det_devkit.conformance import conformance
    from det_devkit.conformance.run import cases_of

    components: dict[str, list[Any]] = {"backbones": [], "heads": []}
    active = {plugin.distribution for plugin in catalog().plugins if plugin.status == "active"}
    for distribution in sorted(active & packages()):
        kit = _conformance_of_core() if distribution == "det-core" else conformance(distribution)
        for case in cases_of(kit):
            kind = getattr(case.subject, "kind", "")
            if kind in components and case.subject not in components[kind]:
                components[kind].append(case.subject)
    return components


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

    part = Factory(partial(_make_head, head))
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


def _make_head(head: Any, **arguments: Any) -> Any:
    """The head of its example, with the arguments that the model passes."""
    return head.make(parent_arguments=arguments)


def outcome(backbone: Any, head: Any) -> tuple[bool, str]:
    """Whether a pair predicts, and the error if it does not."""
    import torch
    from det_core.structures import ImageBatch

    pixels = torch.randint(0, 255, (1, 3, _SIDE, _SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = ImageBatch(pixels=pixels, sizes=[(_SIDE, _SIDE)])
    try:
        model = detector(backbone, head).eval()
        with torch.no_grad():
            model(batch)
    except Exception as error:  # whatever the pair raises is the reason
        words = " ".join(str(error).split()) or type(error).__name__
        words = re.sub(r"; got \[.*", "", words.removeprefix("_make_head: "))  # whatever the numbers are
        return False, words if len(words) <= _LONGEST else words[: _LONGEST - 3] + "..."
    return True, ""


def pairs() -> str:
    """The tables of all pairs and the reasons."""
    components = subjects()
    reasons: dict[str, int] = {}
    lines: list[str] = []
    for backbone in components["backbones"]:
        cells = list(_cells(backbone, components["heads"], reasons))
        lines.append(f"| {backbone.plugin}/{backbone.name} | {' | '.join(cells)} |")
    names = [head.name for head in components["heads"]]
    header = [f"| backbone | {' | '.join(names)} |", f"| --- {'| --- ' * len(names)}|"]
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return _PAIRS_TEXT + "\n".join([*header, *lines, "", *notes]) + "\n"


def _cells(backbone: Any, heads: list[Any], reasons: dict[str, int]) -> Iterator[str]:
    for head in heads:
        works, words = outcome(backbone, head)
        yield "yes" if works else str(reasons.setdefault(words, len(reasons) + 1))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", action="store_true", help="only the table of packages")
    only = parser.parse_args().packages
    if only:
        page = PAGE.read_text("utf-8") if PAGE.exists() else ""
        below = page[page.index(PAIRS) :] if PAIRS in page else ""
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            below = pairs()
    PAGE.write_text(_INTRODUCTION + packages_table() + below, "utf-8")


if __name__ == "__main__":
    main()
