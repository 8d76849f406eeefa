"""Reports problems of an environment, each with a command that fixes it.

Works from metadata, so that it works in broken environments; torch and torchvision are imported, and each plugin is
probed, in another process. A fix can be pasted into a shell: a command, with remarks after a "#".
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from det_core.plugins import known, registry
from det_core.plugins.discovery import CORE, DISABLE, TIMEOUT, Catalog, Issue, Plugin, canonical, catalog
from det_core.plugins.hooks import HOOKS

from det_devkit import probe

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["EnvironmentReport", "check_environment"]

# Uses of the extras of core.
_EXTRAS = {
    "fast-eval": "without it COCO metrics are computed more slowly",
    "hub": "without it no weights come from hf://",
    "plots": "without it a run draws no learning curves",
}
_TORCH, _VISION = "torch", "torchvision"
_PROBE = "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
_SECONDS = 120  # a first import of torch from a slow disk takes long

# Well-known libraries: module -> distribution.
_PACKAGES: Mapping[str, str] = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "einops": "einops",
    "huggingface_hub": "huggingface-hub",
    "matplotlib": "matplotlib",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "tqdm": "tqdm",
    "transformers": "transformers",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class EnvironmentReport:
    """Report on an environment.

    Attributes:
        versions: versions of Python, the platform and relevant distributions, to quote in bug reports.
        problems: faults of the environment, with fixes.
        notes: intended states that may be of interest.
    """

    versions: dict[str, str]
    problems: tuple[Issue, ...]
    notes: tuple[Issue, ...]


def check_environment(import_torch: bool = True, isolate: bool = True) -> EnvironmentReport:
    """Check everything.

    Args:
        import_torch: whether to test that torch and torchvision work together, in another process.
        isolate: whether to probe each plugin in another process first; a plugin that ends its process is excluded from
            everything that follows, and from the catalog of this process.
    """
    culprits = probe.culprits() if isolate else ()
    ended = {culprit.distribution for culprit in culprits}
    plugins = _catalog_without(ended).plugins
    names = dict.fromkeys([CORE, _TORCH, _VISION, *(plugin.distribution for plugin in plugins)])
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    versions |= {name: _installed(name) or "not installed" for name in names}
    problems = [*catalog().environment_issues]
    problems += [_deadly(culprit) for culprit in culprits]
    for name in names:
        problems += _twice(name)
        problems += _requirements(name, [plugin for plugin in plugins if plugin.distribution == name])
    for plugin in plugins:
        problems += _trouble(plugin)
    if import_torch and not any(finding.where.split()[0] in (_TORCH, _VISION) for finding in problems):
        problems += _torch_at_work()
    return EnvironmentReport(versions, tuple(dict.fromkeys(problems)), (*_switched_off(ended), *_clashes(), *_extras()))


def _catalog_without(distributions: Collection[str]) -> Catalog:
    if not distributions:
        return catalog()
    before = os.environ.get(DISABLE)
    os.environ[DISABLE] = ",".join(filter(None, [before, *sorted(distributions)]))
    try:
        return catalog(refresh=True)
    finally:
        os.environ.pop(DISABLE)
        if before is not None:
            os.environ[DISABLE] = before


def _deadly(culprit: probe.Culprit) -> Issue:
    name = culprit.distribution
    fix = f"{DISABLE}={name} goes on without it; pip install --upgrade {name}  # or report it to its authors"
    return Issue(f"{name} {culprit.version}", culprit.problem, fix)


def _twice(name: str) -> Iterator[Issue]:
    """A distribution installed in several versions, of which Python imports the first and pip may report another.

    Plugins are skipped: the catalog reports them.
    """
    versions = list(dict.fromkeys(distribution.version for distribution in metadata.distributions(name=name)))
    if len(versions) > 1 and name not in {plugin.distribution for plugin in catalog().plugins}:
        fix = f"pip uninstall {name}  # until none is left, then install it again"
        yield Issue(name, f"is installed in several versions: {', '.join(versions)}", fix)


def _requirements(name: str, plugins: list[Plugin]) -> Iterator[Issue]:
    """Unmet requirements of a distribution: a Python version, another distribution, a version of one."""
    if all(plugin.status == "disabled" for plugin in plugins) and plugins:
        return
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return  # reported by its dependent, or by the catalog
    label = f"{name} {distribution.version}"
    yield from _python_of(distribution, label)
    explained = {_requirement_for(distribution, plugin.missing)[0] for plugin in plugins if plugin.missing}
    for requirement, version in _unmet(distribution):
        if canonical(requirement.name) == CORE and plugins:
            continue  # reported for the inactive plugin itself
        if _bare(requirement) in explained:
            continue
        installed = f"{version} is installed" if version else "it is not installed"
        fix = f"pip install '{_bare(requirement)}'"
        if name == _VISION and requirement.name == _TORCH:
            fix = f"pip install --upgrade {_TORCH} {_VISION}  # both from one index"
        where = requirement.name if name == CORE else label
        yield Issue(where, f"{'det' if name == CORE else 'it'} needs {_bare(requirement)}, but {installed}", fix)


def _python_of(distribution: metadata.Distribution, label: str) -> Iterator[Issue]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    required, running = (distribution.metadata.get_all("Requires-Python") or [""])[0], platform.python_version()
    try:
        fits = SpecifierSet(required).contains(running.rstrip("+"), prereleases=True)
    except InvalidSpecifier:
        return  # pip cannot parse it either
    if not fits:
        fix = f"uv venv --python '{required}'  # makes a new environment"
        yield Issue(label, f"it needs Python {required}, but this is {running}", fix)


def _trouble(plugin: Plugin) -> Iterator[Issue]:
    """Why a plugin is inactive, or the problem of an active one."""
    label, name = f"{plugin.distribution} {plugin.version}", plugin.distribution
    without = f"{DISABLE}={name} goes on without it"
    if plugin.status == "incompatible":
        fix = f"pip install --upgrade {name}  # if it has a release for {CORE} {_installed(CORE)}"
    elif plugin.status == "hanging":
        fix = f"{TIMEOUT}=60 det plugins  # gives it more time; {without}"
    elif plugin.missing:
        fix = f"{_install_missing(plugin)}; {without}"
    elif plugin.status == "broken":
        fix = f"{_reinstall(plugin)}  # or --upgrade, for a newer one; {without}"
    else:
        fix = f"pip install --upgrade {name}  # or report it to its authors; the rest of it works"
    if plugin.status != "disabled":
        yield from (Issue(label, problem, fix) for problem in plugin.problems)


def _install_missing(plugin: Plugin) -> str:
    """Command that installs the module a plugin is missing."""
    name, top = plugin.distribution, plugin.missing.partition(".")[0]
    if top == plugin.module.partition(":")[0].partition(".")[0]:
        return f"{_reinstall(plugin)}  # its files are incomplete"
    requirement, extra = _requirement_for(metadata.distribution(name), plugin.missing)
    if extra:
        return f"pip install '{name}[{extra}]'  # the extra that brings it"
    if requirement:
        return f"pip install '{requirement}'  # which {name} requires"
    package = _PACKAGES.get(top) or (canonical(top) if canonical(top) in known.PACKAGES else "")
    if package:
        return f"pip install {package}  # which {name} should require; report it to its authors"
    return f"# install the package that brings {top!r}, which {name} does not name"


def _reinstall(plugin: Plugin) -> str:
    """Command that reinstalls a plugin from its source."""
    place = f"{plugin.distribution}=={plugin.version}"
    try:
        origin = json.loads(metadata.distribution(plugin.distribution).read_text("direct_url.json") or "{}")
        if url := str(origin.get("url") or ""):
            place = f"-e '{url}'" if origin.get("dir_info", {}).get("editable") else f"'{url}'"
    except (ValueError, AttributeError):
        pass  # damaged installer metadata; then the name has to suffice
    return f"pip install --force-reinstall --no-deps {place}"


def _requirement_for(distribution: metadata.Distribution, module: str) -> tuple[str, str]:
    """The requirement of a distribution that provides a module, and its extra; "" for none."""
    top = module.partition(".")[0]
    packages = {canonical(top), canonical(_PACKAGES.get(top, top))}
    for extra in ("", *(distribution.metadata.get_all("Provides-Extra") or ())):
        for requirement, _ in _unmet(distribution, extra):
            if canonical(requirement.name) in packages:
                return _bare(requirement), extra
    return "", ""


def _unmet(distribution: metadata.Distribution, extra: str = "") -> Iterator[tuple["Requirement", str]]:
    """The requirements that are not met, each with the installed version, "" for none."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # pip cannot parse it either
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            version = _installed(requirement.name)
            if not version or not requirement.specifier.contains(version, prereleases=True):
                yield requirement, version


def _bare(requirement: "Requirement") -> str:
    """A requirement without its marker, for pip."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _torch_at_work() -> Iterator[Issue]:
    """Whether torch and torchvision builds are compatible, tested by using them."""
    torch, vision = _installed(_TORCH), _installed(_VISION)
    if not (torch and vision):
        return
    where = f"{_TORCH} {torch}, {_VISION} {vision}"
    fix = f"pip install --force-reinstall {_TORCH} {_VISION}  # both from one index"
    try:
        command = [sys.executable, "-c", _PROBE]
        run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        problem = f"importing them takes longer than {_SECONDS} s; the machine may only be busy"
        yield Issue(where, problem, f"det plugins doctor  # later; if it stays so: {fix}")
        return
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"it ends with code {run.returncode}"]
        yield Issue(where, f"they do not work together: {said[-1].strip():.200}", fix)


def _switched_off(ended: Collection[str]) -> Iterator[Issue]:
    plugins = catalog().plugins
    for plugin in plugins:
        if plugin.status == "disabled" and plugin.distribution not in ended:
            fix = f"take it out of {DISABLE} to use it"
            yield Issue(f"{plugin.distribution} {plugin.version}", plugin.problem, fix)
    named = {canonical(name.strip()) for name in os.environ.get(DISABLE, "").split(",") if name.strip()}
    for name in sorted(named - {plugin.distribution for plugin in plugins}):
        near = registry.did_you_mean(name, {plugin.distribution for plugin in plugins})
        yield Issue(DISABLE, f"it names {name!r}, which is no installed plugin", near)


def _clashes() -> Iterator[Issue]:
    """Names that are ambiguous unqualified, because several plugins use them."""
    for kind in HOOKS:
        offered: dict[str, set[str]] = {}
        for component in registry.components(kind):
            offered.setdefault(component.name, set()).add(component.distribution)
        for name, distributions in sorted(offered.items()):
            if len(distributions) > 1:
                several = sorted(distributions)
                problem = f"is a name in {' and '.join(several)}, and ambiguous without a qualifier"
                fix = "write " + " or ".join(f"'{distribution}/{name}'" for distribution in several)
                yield Issue(f"{kind[:-1]} {name!r}", problem, fix)


def _extras() -> Iterator[Issue]:
    """Extras of core that are not installed."""
    if not _installed(CORE):
        return
    for extra, use in _EXTRAS.items():
        always = {_bare(requirement) for requirement, _ in _unmet(metadata.distribution(CORE))}
        lacking = {_bare(requirement) for requirement, _ in _unmet(metadata.distribution(CORE), extra)} - always
        if lacking:
            problem = f"{' and '.join(sorted(lacking))} is not installed; {use}"
            yield Issue(f"{CORE}[{extra}]", problem, f"pip install '{CORE}[{extra}]'  # or everything: '{CORE}[all]'")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
