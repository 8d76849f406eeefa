"""Extension point for settings of Detectron2's projects: each plugin translates those of its own parts.

A name of the hook `det_importers` that begins with "detectron2.", such as "detectron2.acme", leads to a mapping with
these entries, all of them optional:

* `defaults`: {setting: default}, what the project adds to Detectron2's own settings;
* `datasets`: {published name: node of a dataset}, places relative to the data folder;
* `parts`: {(setting, value): function}. Where that setting has that value, the function translates the part; what it
  is called with and what it returns depends on the setting:
  - `MODEL.META_ARCHITECTURE`: (settings) -> the node of the model;
  - `MODEL.BACKBONE.NAME`: (settings) -> a `det_detectron2.importer.detectron2.Backbone`;
  - `MODEL.PROPOSAL_GENERATOR.NAME`: (settings, strides) -> the node `proposal_generator`;
  - `MODEL.ROI_HEADS.NAME`: (settings, strides) -> the entries `type`, `roi_heads` and extra heads of the model;
  - `MODEL.RPN.HEAD_NAME`, `MODEL.ROI_BOX_HEAD.NAME`, `MODEL.ANCHOR_GENERATOR.NAME` (of an RPN): (settings) -> the node
    of the part;
  - `MODEL.ROI_MASK_HEAD.NAME`, `MODEL.ROI_KEYPOINT_HEAD.NAME`, `MODEL.SEM_SEG_HEAD.NAME`: (settings, strides) -> the
    node of the head;
  - `model.kind`, of Python files: (objects) -> the YAML settings that the model amounts to, without its backbone;
  - `model.backbone.kind`, `model.backbone.bottom_up.kind`, of Python files: (objects, path) -> a `Backbone`;
* `complete`: (settings, tree), called last where one of these parts was used or one of the settings is given, to
  change the recipe in place: transforms, evaluators, another dataset.

They are imported together with a configuration, isolated from each other and with the import timeout of plugins; those
that fail are named in the error of the missing part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from det_core import plugins
from det_core.plugins import discovery, registry
from det_safeload.isolation import ForeignError, isolated
from det_safeload.watchdog import Watchdog

__all__ = ["Extension", "extensions", "forget", "problems", "translator"]

_KIND, _FORMAT = "importers", "detectron2."


@dataclass(frozen=True)
class Extension:
    """The translations of one plugin."""

    distribution: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parts: Mapping[tuple[str, str], Callable[..., Any]] = field(default_factory=dict)
    complete: Callable[..., None] | None = None

    def concerns(self, settings: Mapping[str, Any]) -> bool:
        """Whether some of these settings belong to it."""
        return any(settings.get(key) == value for key, value in self.parts) or not self.defaults.keys().isdisjoint(
            settings
        )


def extensions() -> tuple[Extension, ...]:
    """The extensions of all active plugins, by distribution name."""
    return _load()[0]


def problems() -> tuple[str, ...]:
    """The errors of extensions that failed to load, a sentence each."""
    return _load()[1]


def forget() -> None:
    """Reload the extensions on next use."""
    _load.cache_clear()


def translator(setting: str, value: Any) -> Callable[..., Any] | None:
    """The function of a plugin for the part of this name; None if there is none."""
    functions = [
        each.parts[setting, value] for each in extensions() if isinstance(value, str) and (setting, value) in each.parts
    ]
    return functions[0] if functions else None


@cache
def _load() -> tuple[tuple[Extension, ...], tuple[str, ...]]:
    loaded, errors = [], []
    components = [each for each in registry.components(_KIND) if each.name.startswith(_FORMAT)]
    with Watchdog(discovery.time_limit(), f"{plugins.DISABLE}={{who}} goes on without it", "det") as watchdog:
        for component in components:
            who = component.distribution
            try:
                loaded.append(isolated(watchdog, who, _loaded, component))
            except ForeignError as error:
                late = f" to be imported, more than {plugins.TIMEOUT} allows" if error.late else ""
                errors.append(f"{who}: {component.target} cannot be used: {error.text}{late}")
    return tuple(loaded), tuple(errors)


def _loaded(component: registry.Component) -> Extension:
    return _read(component.distribution, component.resolve())


def _read(distribution: str, content: Any) -> Extension:
    if not isinstance(content, Mapping):
        raise TypeError(f"it must be a mapping, not {type(content).__name__}")
    if unknown := sorted(map(str, content.keys() - {"defaults", "datasets", "parts", "complete"})):
        raise TypeError(f"it has no entry {', '.join(map(repr, unknown))}")
    for name in ("defaults", "datasets", "parts"):
        if not isinstance(content.get(name, {}), Mapping):
            raise TypeError(f"{name!r} must be a mapping, not {type(content[name]).__name__}")
    return Extension(distribution, **content)
