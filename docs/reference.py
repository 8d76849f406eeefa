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

A plugin is a module that an installed distribution names in the entry-point group `det`. It has any of these functions,
marked with `@hookimpl`; a contract says what the things behind the names they return must be.
[Your first plugin](first-plugin.md) shows one; [Structures](structures.md) says what flows between the parts.

## Hooks

Each takes no argument and returns names as data. Nothing behind a name is imported before it is used, so a module with
hooks imports nothing but `det_core.plugins.hooks`. Beside them it may hold `SAFE_PARTS`, the import paths that
[an untrusted recipe](recipes.md#what-a-recipe-may-call) may build too.

"""

BETWEEN = """
What stands behind a name is any callable whose arguments have annotations and can be given by name (no `**kwargs`): a
class, or a function. Its signature is what a recipe can say.

## Contracts

They are Protocols: a class with these attributes and methods fits, without a base class, a decorator or a registration.
Backbones, heads and models are `torch.nn.Module`s too. `python -m det_devkit.conformance NAME` checks a plugin.
"""


def page() -> str:
    """The whole page."""
    functions = "\n\n\n".join(_source(hooks, hook) for hook in hooks.HOOKS.values())
    parts = [HEAD, f"```python\n{functions}\n```\n", BETWEEN]
    for name in contracts.__all__:
        hook = hooks.HOOKS.get(hooks.CONTRACTS.get(name, ""))
        named = f"Named by `{hook}`." if hook else "Named in recipes by import path."
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
    parts |= {kind.capitalize(): [c for c in own if c.name not in shared] for kind, own in CHECKS.items()}
    return "\n" + "\n".join(_table(title, own) for title, own in parts.items()) + "\n"


def _table(title: str, of_kind: Sequence[Check]) -> str:
    rows = "".join(f"| {check.name} | {check.about} |\n" for check in of_kind)
    return f"### {title}\n\n| check | what it holds to |\n| --- | --- |\n{rows}"


def _source(module: ModuleType, name: str) -> str:
    """The definition of a name as it stands in its module, without decorators and remarks for type checkers."""
    text = inspect.getsource(module)
    (node,) = [each for each in ast.parse(text).body if getattr(each, "name", "") == name]
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join(line.partition("  # type: ignore")[0] for line in lines)
