"""Reference sections of docs generated from the code: hooks, contracts, conformance checks; see include.py."""

import ast
import inspect
import sys
from collections.abc import Sequence
from types import ModuleType

from det_core import contracts
from det_core.plugins import hooks
from det_devkit.conformance import Check

PAGE = "hooks-and-contracts.md"

HEAD = """\
<!-- Written by docs/include.py from det_core.plugins.hooks and det_core.contracts: change those, and run it. -->
# Hooks and contracts

A plugin is a module that an installed distribution lists in the entry-point group `det`. It implements some of the
hooks below as functions with `@hookimpl`. Hooks return names of components; a contract defines the interface of a kind
of components. [Your first plugin](first-plugin.md) is an example; [Structures](structures.md) defines the data that
components exchange.

## Hooks

Hooks have no arguments and return a mapping from names to import paths. A component is imported only when it is used,
so the module of the hooks imports nothing but `det_core.plugins.hooks`. It may also define `SAFE_PARTS`, a list of
further import paths that [untrusted recipes](recipes.md#what-a-recipe-may-call) may call.

"""

BETWEEN = """
A component is a callable, such as a class or a function, whose arguments are annotated and can be passed by keyword (no
`**kwargs`). A recipe can set every argument of its signature.

## Contracts

Contracts are `typing.Protocol`s: a class fulfills one by having its attributes and methods, without base class,
decorator or registration. Backbones, heads and models are also `torch.nn.Module`s. "Built with" lists the arguments
that the surrounding model passes. `python -m det_devkit.conformance NAME` checks the components of a plugin.
"""

NO_HOOK = "Has no hook: a recipe gives an import path, or components of other contracts implement it as well."


def page() -> str:
    """The whole page."""
    functions = "\n\n\n".join(_source(hooks, hook) for hook in hooks.HOOKS.values())
    parts = [HEAD, f"```python\n{functions}\n```\n", BETWEEN]
    for name in contracts.__all__:
        hook = hooks.HOOKS.get(hooks.CONTRACTS.get(name, ""))
        named = f"Offered by the hook `{hook}`." if hook else NO_HOOK
        source = _source(sys.modules[getattr(contracts, name).__module__], name)
        parts.append(f"\n### {name}\n\n{named}\n\n```python\n{source}\n```\n")
    return "".join(parts)


def checks() -> str:
    """A table of the checks of each kind of component, and before those of what several kinds share."""
    from det_devkit.conformance.tables import CHECKS

    every = [check for check in CHECKS["backbones"] if check.name in {c.name for c in CHECKS["datasets"]}]
    networks = [check for check in CHECKS["heads"] if check in CHECKS["backbones"] and check not in every]
    shared = {check.name for check in (*every, *networks)}
    parts = {"Every component": every, "Backbones, heads and models": networks}
    parts |= {kind.capitalize(): [c for c in group if c.name not in shared] for kind, group in CHECKS.items()}
    return "\n" + "\n".join(_table(title, group) for title, group in parts.items()) + "\n"


def _table(title: str, of_kind: Sequence[Check]) -> str:
    rows = "".join(f"| {check.name} | {check.about} |\n" for check in of_kind)
    return f"### {title}\n\n| check | requirement |\n| --- | --- |\n{rows}"


def _source(module: ModuleType, name: str) -> str:
    """The definition of a name as it stands in its module, without decorators and remarks for type checkers."""
    text = inspect.getsource(module)
    (node,) = [each for each in ast.parse(text).body if getattr(each, "name", "") == name]
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join(line.partition("  # type: ignore")[0] for line in lines)
