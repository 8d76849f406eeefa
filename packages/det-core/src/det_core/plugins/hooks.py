"""The eleven hooks of a plugin, which return names as data.

A plugin is a module named in the entry-point group `det`. Each hook takes no argument and returns names as data,
`{"name": "package.module:attribute"}`; nothing behind a name is imported before it is used. Beside its hooks a plugin
module may hold `SAFE_PARTS`, a tuple of import paths that an untrusted recipe or checkpoint may build, and
`MOVED_NAMES`, a table from names that parts of it had elsewhere before to those that they have.
"""

from collections.abc import Iterable, Mapping

import pluggy

__all__ = ["COMPONENTS", "CONTRACTS", "GROUP", "HOOKS", "KINDS", "MOVED_NAMES", "SAFE_PARTS"]
__all__ += ["hookimpl", "hookspec", "recipe_files"]

GROUP = "det"
SAFE_PARTS, MOVED_NAMES = "SAFE_PARTS", "MOVED_NAMES"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def det_backbones() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables that return a `Backbone`, each as "package.module:attribute"."""


@hookspec
def det_heads() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables that return a contract of heads: `RegionHead`, `BoxHead`, `BoxPredictor`, `ROIHeads`, ..."""


@hookspec
def det_models() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables that return a `Model`."""


@hookspec
def det_datasets() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables that return a `Dataset`."""


@hookspec
def det_evaluators() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables that return an `Evaluator`."""


@hookspec
def det_exporters() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables that return an `Exporter`."""


@hookspec
def det_recipes() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name recipe files, each as "package:folder/file.yaml"; two names of one file are aliases."""


@hookspec
def det_commands() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name click commands of `det`; "recipes import" is a subcommand, "predict .mp4" takes over for files of a suffix.

    "train --dry-run" is the option of a command of core: a callable (context, recipe, value of the option).
    The first sentence of the command's docstring is its line in the help; it is read from the source, not imported.
    """


@hookspec
def det_importers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables (file: Path) -> imported configuration; "detectron2.acme" names an extension of "detectron2"."""


@hookspec
def det_writers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name callables (folder: Path) -> `Writer`, for `det predict --save NAME`."""


@hookspec
def det_conformance() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Name a `det_devkit.conformance.Conformance`: how the conformance kit makes this package's components."""


# Kinds that recipes name; then those for programs.
KINDS: tuple[str, ...] = ("backbones", "heads", "models", "datasets", "evaluators", "exporters", "recipes")
COMPONENTS: tuple[str, ...] = KINDS[:-1]
HOOKS: Mapping[str, str] = {kind: f"det_{kind}" for kind in (*KINDS, "commands", "importers", "writers", "conformance")}

# Kind of a short name, by the contract of `det_core.contracts` that annotates the parameter. Contracts need torch.
CONTRACTS: Mapping[str, str] = {
    "Backbone": "backbones",
    "AnchorGenerator": "heads",
    "BoxHead": "heads",
    "BoxPredictor": "heads",
    "CascadeBoxPredictor": "heads",
    "Pooler": "heads",
    "PooledRegionHead": "heads",
    "Preprocess": "heads",
    "RPNHead": "heads",
    "SemanticHead": "heads",
    "RegionHead": "heads",
    "ROIHeads": "heads",
    "DenseHead": "heads",
    "ProposalGenerator": "heads",
    "Model": "models",
    "Dataset": "datasets",
    "Evaluator": "evaluators",
    "Exporter": "exporters",
}


def recipe_files(folder: str, published: Mapping[str, Mapping[str, str]], more: Iterable[str] = ()) -> dict[str, str]:
    """The result of `det_recipes` for files named like their recipes; published paths are aliases.

    Args:
        folder: folder of the files, as "package:folder".
        published: folder of the published configuration -> name of the recipe -> name of the configuration.
        more: recipes of no published configuration.
    """
    files = {name: f"{folder}/{name}.yaml" for name in more}
    for place, names in published.items():
        for name, configuration in names.items():
            files[name] = files[f"{place}/{configuration}"] = f"{folder}/{name}.yaml"
    return files
