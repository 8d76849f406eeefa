"""A plugin skeleton for the parts that a program registers with Detectron2, for `det migrate --plugin`.

The package is that of `det new-plugin`. The code of each part is put beside it unchanged, under a list of what changes.
Programs are read, not run.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from det_core.errors import DataError
from det_core.plugins.known import function

from det_detectron2.migrate import dotted, parse, uses_of

__all__ = ["Part", "parts_of", "write_plugin"]

_REGISTRIES = {
    "BACKBONE_REGISTRY": "backbone",
    "META_ARCH_REGISTRY": "model",
    "PROPOSAL_GENERATOR_REGISTRY": "head",
    "RPN_HEAD_REGISTRY": "head",
    "ANCHOR_GENERATOR_REGISTRY": "head",
    "ROI_HEADS_REGISTRY": "head",
    "ROI_BOX_HEAD_REGISTRY": "head",
    "ROI_MASK_HEAD_REGISTRY": "head",
    "ROI_KEYPOINT_HEAD_REGISTRY": "head",
    "SEM_SEG_HEADS_REGISTRY": "head",
}
_BASES = {"DatasetEvaluator": "evaluator", "HookBase": "callback"}
_CHANGES = {
    "backbone": (
        "output_shape() becomes the attributes `channels` and `strides`, mappings by level; add `size_divisibility`",
        "forward(image) stays: pixels (B, 3, H, W) to a mapping of levels; pixels are normalized by the model",
        "MODEL.BACKBONE.NAME becomes model: {backbone: {type: NAME}} in the recipe, with the arguments beside it",
    ),
    "model": (
        "forward(batched_inputs) becomes forward(batch: ImageBatch, targets=None), which returns losses if there are "
        "targets, and a list of Prediction otherwise, whatever self.training is",
        "instances.gt_boxes, gt_classes and gt_masks become targets.boxes, labels and masks",
        "MODEL.META_ARCHITECTURE becomes model: {type: NAME}",
    ),
    "head": (
        "the branches of forward for training and inference become two methods, such as losses(features, proposals, "
        "targets, sizes) and predict(features, proposals, sizes); docs/hooks-and-contracts.md has those of each head",
        "Instances become Proposals, Targets and Detections (det_core.structures), Boxes become tensors (N, 4)",
        "MODEL.ROI_HEADS.NAME becomes model: {roi_heads: {type: NAME}}, and so on for the other heads",
    ),
    "evaluator": (
        "process(inputs, outputs) becomes update(prediction, sample), for one image; reset() is not needed",
        "what is gathered over processes: state() returns it, merge(states) takes it from all",
        "evaluate() becomes result(), a flat mapping such as {'bbox/AP': 41.2}",
    ),
    "callback": (
        "before_train, before_step, after_step and after_train become on_start(trainer), "
        "before_step(trainer, batches), after_step(trainer, scalars) and on_end(trainer)",
        "trainer.storage.latest() becomes the argument `scalars`; trainer.iter becomes trainer.step",
        "register_hooks([...]) becomes train: {callbacks: [{type: 'MODULE:NAME'}]} in the recipe",
    ),
}


@dataclass(frozen=True)
class Part:
    """A class or function that a program gives to Detectron2.

    Attributes:
        file: program.
        line: first line of its definition.
        name: name of the class or function.
        kind: "backbone", "model", "head", "evaluator" or "callback".
        settings: settings of `cfg` that it reads, such as "MODEL.SMALL.WIDTH".
        source: source code, with decorators.
    """

    file: Path
    line: int
    name: str
    kind: str
    settings: tuple[str, ...]
    source: str


def parts_of(file: Path) -> list[Part]:
    """The registered parts of a program, and its evaluators and hooks, in the order of their lines.

    Raises:
        DataError: the file is no Python.
    """
    tree, lines = parse(file), file.read_text("utf-8").splitlines()
    by_call = dict(_registered_by_call(tree))
    parts = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        kind = next(_kinds(node), by_call.get(node.name, ""))
        if kind:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            source = "\n".join(lines[first - 1 : node.end_lineno])
            parts.append(Part(file, first, node.name, kind, _settings_read(node), source))
    return sorted(parts, key=lambda part: part.line)


def _kinds(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if (kind := _registry(decorator)) is not None:
            yield kind
    for base in getattr(node, "bases", ()):
        if (kind := _BASES.get(_last(base))) is not None:
            yield kind


def _registered_by_call(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names given to `REGISTRY.register(NAME)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(name := node.args[0], ast.Name):
            yield name.id, _registry(node) or ""


def _registry(node: ast.expr) -> str | None:
    """The kind of `REGISTRY.register`, or of a call of it."""
    function = node.func if isinstance(node, ast.Call) else node
    if isinstance(function, ast.Attribute) and function.attr == "register":
        return _REGISTRIES.get(_last(function.value))
    return None


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _settings_read(node: ast.AST) -> tuple[str, ...]:
    paths = {path for each in ast.walk(node) if (path := dotted(each)) and path[0] == "cfg" and path[1].isupper()}
    whole = {path for path in paths if not any(other[: len(path)] == path and other != path for other in paths)}
    return tuple(sorted(".".join(part for part in path[1:] if part.isupper()) for path in whole))


def write_plugin(files: Sequence[Path], name: str, output: Path | None = None) -> list[str]:
    """Write a package with the templates of the kinds of parts in `files`; returns a line for each part.

    Args:
        files: programs.
        name: distribution name of the plugin, such as "det-mine".
        output: output folder, new or empty; None for the name, in the current folder.

    Raises:
        DataError: the programs have no such part.
        ConfigError: the name is taken, or the folder is not empty.
        MissingExtraError: det-devkit is not installed.
    """
    parts = [part for file in files for part in parts_of(file)]
    if not parts:
        raise DataError(", ".join(map(str, files)), "registers no part with Detectron2, and has no evaluator or hook")
    new_plugin = function("migrate --plugin")
    folder = Path(name) if output is None else output
    new_plugin(name, {part.kind for part in parts} - {"callback"}, folder)
    before = folder / "before"
    before.mkdir()
    lines = []
    for part in parts:
        target = before / f"{part.name}.py"
        target.write_text(_text(part), "utf-8")
        lines.append(f"{part.kind} {part.name} ({part.file}:{part.line}): {target}")
    return lines


def _text(part: Part) -> str:
    """The code of a part under what changes in it."""
    changes = list(_CHANGES[part.kind])
    if part.settings:
        changes.insert(0, "arguments of the constructor, in place of cfg: " + ", ".join(map(_argument, part.settings)))
    last = part.line + part.source.count("\n")
    names = [use for use in uses_of(part.file) if use.name.rpartition(".")[2] in part.source]
    changes += [f"used here: {use.name}" for use in names if use.line < part.line or use.line > last]
    target = "src/*/callback.py, a new file" if part.kind == "callback" else f"src/*/{part.kind}.py"
    header = f"The {part.kind} {part.name} of {part.file.name}, unchanged. Move its code into {target}. What changes:"
    return "\n".join((f"# {header}", *(f"# - {line}" for line in changes), "", part.source, ""))


def _argument(setting: str) -> str:
    return f"{setting.rpartition('.')[2].lower()} ({setting})"
