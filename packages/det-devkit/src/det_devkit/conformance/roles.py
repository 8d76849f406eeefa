"""How the kit uses a component of each kind: arguments from parents, inputs, outputs."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from det_devkit.conformance.report import DoesNotApply, Failed
from det_devkit.conformance.synthetic import Scene

__all__ = ["ModuleRole", "Plain", "Role", "require_members", "require_module"]


class Role(Protocol):
    """The use of a component."""

    def parents(self) -> Mapping[str, Any]:
        """The arguments that a parent passes to its parts."""
        ...


class ModuleRole(Role, Protocol):
    """The use of a network, as far as common to all networks."""

    def require(self, module: Any, scene: Scene) -> None:
        """Raise Failed if the contract does not hold for these images."""
        ...

    def inputs(self, module: Any, scene: Scene) -> Any:
        """Inputs of the network for these images, on the CPU; a structure of tensors that `convert` can traverse."""
        ...

    def predict(self, module: Any, inputs: Any) -> list[dict[str, Tensor]]:
        """Predictions of the network for each image, as named tensors."""
        ...

    def losses(self, module: Any, inputs: Any) -> dict[str, Tensor]:
        """The losses that training sums."""
        ...

    def exportable(self, module: Any, inputs: Any) -> tuple[nn.Module, tuple[Any, ...]]:
        """The part of fixed shapes and its arguments; raises DoesNotApply where there is none."""
        ...


@dataclass(frozen=True)
class Plain:
    """A component other than a network."""

    parent_arguments: Mapping[str, Any]

    def parents(self) -> Mapping[str, Any]:
        """The arguments that it was built with."""
        return self.parent_arguments


def require_module(module: Any) -> None:
    """Raise Failed unless it is a network."""
    if not isinstance(module, nn.Module):
        raise Failed(f"it makes a {type(module).__name__}, not an nn.Module", "derive it from torch.nn.Module")


def require_members(thing: Any, contract: type, names: tuple[str, ...]) -> None:
    """Raise Failed where `thing` lacks an attribute or method of the contract."""
    methods = [name for name in names if callable(getattr(contract, name, None))]
    missing = [name for name in names if not hasattr(thing, name)]
    missing += [name for name in methods if name not in missing and not callable(getattr(thing, name))]
    if missing:
        problem = f"{type(thing).__name__} is no {contract.__name__}: it lacks {', '.join(map(repr, missing))}"
        raise Failed(problem, f"see {contract.__module__}.{contract.__name__}")


def class_behind(target: Callable[..., Any]) -> type | None:
    """The class of the objects that a callable returns, from its return annotation."""
    if isinstance(target, type):
        return target
    try:
        returned = typing.get_type_hints(target).get("return")
    except Exception:
        return None  # annotations have their own check
    return returned if inspect.isclass(returned) else None


def not_exportable(reason: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """For roles without a part of fixed shapes."""
    raise DoesNotApply(reason)
