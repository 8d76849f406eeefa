"""Checks of a plugin's package: its metadata, and cheap listing."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from typing import cast

from det_core.plugins import CORE, DISABLE, Plugin, canonical, catalog
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from det_devkit.conformance.report import DoesNotApply, Failed, check

__all__ = ["PACKAGE", "Package"]

_HEAVY = ("torch", "torchvision", "numpy", "pydantic", "rich")
_LISTING = f"""
import json, sys
from det_core.plugins import catalog
catalog()
print(json.dumps([name for name in {_HEAVY!r} if name in sys.modules]))
"""


@dataclass(frozen=True)
class Package:
    """An installed distribution with plugins."""

    distribution: str

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Its plugins in the catalog."""
        return tuple(plugin for plugin in catalog().plugins if plugin.distribution == self.distribution)

    @property
    def metadata(self) -> Message:
        """Its installed metadata."""
        return cast(Message, metadata.metadata(self.distribution))


@check("it is in use and has no problems", gate=True)
def in_use(package: Package) -> None:
    """It can be imported, fits the installed core, and its hooks return names as data."""
    for plugin in package.plugins:
        if plugin.status != "active" or plugin.problems:
            raise Failed(
                f"{plugin.module} is {plugin.status}: {plugin.problem}", "fix it; `det plugins` lists problems"
            )
    if not any(names for plugin in package.plugins for names in plugin.components.values()):
        raise Failed("it offers nothing", "return names from one of the hooks, marked with @hookimpl")


@check("listing it imports no torch")
def light(package: Package) -> None:
    """In a new process, importing the plugin's module and calling its hooks loads none of the heavy libraries."""
    others = {plugin.distribution for plugin in catalog().plugins} - {package.distribution}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, DISABLE: ",".join(sorted(others)), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", _LISTING], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise Failed(
            f"listing it fails: {done.stderr.strip()[-300:]}", f"run `python -c 'import {package.plugins[0].module}'`"
        )
    if loaded := json.loads(done.stdout.splitlines()[-1]):
        modules = " and ".join(plugin.module for plugin in package.plugins)
        fix = "keep only hooks in that module, and only a docstring in the package's __init__.py"
        raise Failed(f"importing {modules} imports {', '.join(loaded)}", fix)


@check("it declares its supported versions of core")
def bounded(package: Package) -> None:
    """Its requirements name det-core with a lower and an upper bound, and no exact version."""
    if package.distribution == CORE:
        raise DoesNotApply("it is core itself")
    requirements = [Requirement(text) for text in metadata.requires(package.distribution) or ()]
    fix = 'write dependencies = ["det-core>=0.2,<0.3"] in its pyproject.toml'
    core_requirements = [
        r for r in requirements if canonical(r.name) == CORE and (not r.marker or r.marker.evaluate({"extra": ""}))
    ]
    if not core_requirements:
        raise Failed("its requirements do not name det-core", fix)
    operators = {part.operator for requirement in core_requirements for part in requirement.specifier}
    if operators & {"==", "==="}:
        raise Failed(f"it pins one version, det-core{core_requirements[0].specifier}", fix)
    if not (operators & {">=", ">", "~="} and operators & {"<", "<=", "~="}):
        raise Failed(f"det-core{core_requirements[0].specifier} is not bounded on both sides", fix)


@check("it has a licence, a summary, a readme and a version")
def described(package: Package) -> None:
    """Its metadata describe it, its licence, and the required version of Python."""
    about = package.metadata
    licences = [about.get(key) for key in ("License-Expression", "License", "License-File")]
    licences += [line for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    body = about.get("Description") or about.get_payload()
    present = {
        'license (such as license = "Apache-2.0")': any(licences),
        "description": "Summary" in about,
        "readme": bool(str(body or "").strip()),
        "requires-python": "Requires-Python" in about,
    }
    if missing := [name for name, there in present.items() if not there]:
        raise Failed(f"its metadata lack {', '.join(missing)}", "add it under [project] in its pyproject.toml")
    if not re.search(r"\w", about["Name"]) or not _is_version(about["Version"]):
        raise Failed(f"{about['Version']!r} is not a version", 'write one such as version = "0.1.0"')


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


PACKAGE = (in_use, light, bounded, described)
