"""Import this module, and `import detectron2` finds a layer over det in this process.

    import det_detectron2.as_detectron2  # the first line of a program
    from detectron2.engine import DefaultPredictor

Where Detectron2 itself is installed, it is used and this module changes nothing. Nothing is installed under the name
`detectron2`, and no other process is affected.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["active", "install"]

NAME, LAYER = "detectron2", "det_detectron2.layer"


class _Alias(Loader):
    """Gives a module of the layer as the module of Detectron2 that it stands for."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of the layer, imported."""
        module = importlib.import_module(self._target)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It ran when it was imported; its own spec is put back."""
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    """Finds `detectron2` and what lies in it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of the layer with the same path; a module that the layer lacks is an ImportError with its name."""
        if fullname != NAME and not fullname.startswith(f"{NAME}."):
            return None
        layer_name = LAYER + fullname.removeprefix(NAME)
        try:
            spec = importlib.util.find_spec(layer_name)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            fix = "docs/detectron2.md lists what is, and the counterparts in det"
            raise ModuleNotFoundError(f"{fullname} is not part of det's layer for Detectron2; {fix}", name=fullname)
        return ModuleSpec(fullname, _Alias(layer_name), is_package=spec.submodule_search_locations is not None)


def active() -> bool:
    """Whether `detectron2` stands for det's layer in this process."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def install() -> bool:
    """Let `detectron2` stand for det's layer; False, with a line on stderr, where Detectron2 itself is installed."""
    if active():
        return True
    loaded = sys.modules.get(NAME)
    if loaded is not None or importlib.util.find_spec(NAME) is not None:
        where = getattr(loaded, "__file__", None) or importlib.util.find_spec(NAME).origin  # type: ignore[union-attr]
        sys.stderr.write(f"det_detectron2: Detectron2 itself is installed and is used: {where}\n")
        return False
    sys.meta_path.insert(0, _Finder())
    sys.stderr.write("det_detectron2: detectron2 is det's layer in this program\n")
    return True


install()
