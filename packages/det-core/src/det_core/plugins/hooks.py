"""The seven hooks of a plugin, and the kinds of component they name.

A plugin is a module named in the entry-point group `det`. Each hook takes no argument and returns names as data,
`{"name": "package.module:attribute"}`; nothing behind a name is imported before it is used.
"""

from collections.abc import Mapping

import pluggy

__all__ = ["CONTRACTS", "GROUP", "HOOKS", "KINDS", "hookimpl", "hookspec"]

GROUP = "det"
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


KINDS: tuple[str, ...] = ("backbones", "heads", "models", "datasets", "evaluators", "exporters", "recipes")
HOOKS: Mapping[str, str] = {kind: f"det_{kind}" for kind in KINDS}

# Which kind a short name belongs to, by the contract that annotates the parameter. Held as text: contracts need torch.
CONTRACTS: Mapping[str, str] = {
    "det_core.contracts.Backbone": "backbones",
    "det_core.contracts.AnchorGenerator": "heads",
    "det_core.contracts.BoxHead": "heads",
    "det_core.contracts.BoxPredictor": "heads",
    "det_core.contracts.CascadeBoxPredictor": "heads",
    "det_core.contracts.Pooler": "heads",
    "det_core.contracts.PooledRegionHead": "heads",
    "det_core.contracts.Preprocess": "heads",
    "det_core.contracts.RPNHead": "heads",
    "det_core.contracts.SemanticHead": "heads",
    "det_core.contracts.RegionHead": "heads",
    "det_core.contracts.ROIHeads": "heads",
    "det_core.contracts.DenseHead": "heads",
    "det_core.contracts.ProposalGenerator": "heads",
    "det_core.contracts.Model": "models",
    "det_core.contracts.Dataset": "datasets",
    "det_core.contracts.Evaluator": "evaluators",
    "det_core.contracts.Exporter": "exporters",
}
