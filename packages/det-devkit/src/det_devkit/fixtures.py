"""Fixtures that install plugins for a test as an installer would: a module, and metadata with an entry point beside it.

In a `conftest.py`: `from det_devkit.fixtures import install, site, without`.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from det_core import plugins

__all__ = ["install", "site", "without"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path, without stale caches."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv(plugins.DISABLE, raising=False)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    monkeypatch.undo()
    plugins.catalog(refresh=True)


@pytest.fixture
def install(site: Path) -> Callable[..., plugins.Plugin]:
    """Install a distribution with one plugin module; returns its plugin in the catalog."""

    def do(
        name: str, source: str = "", *, version: str = "1.0", point: str = "", requires: str = "", folder: Path = site
    ) -> plugins.Plugin:
        module = name.replace("-", "_")
        (folder / f"{module}.py").write_text("from det_core.plugins.hooks import hookimpl\n" + dedent(source))
        record = folder / f"{module}-{version}.dist-info"
        record.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (record / "METADATA").write_text(
            "\n".join([*lines, *([f"Requires-Dist: {requires}"] if requires else [])]) + "\n"
        )
        (record / "entry_points.txt").write_text(f"[det]\n{point or name} = {module}\n")
        catalog = [plugin for plugin in plugins.catalog(refresh=True).plugins if plugin.distribution == name]
        return catalog[0]

    return do


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Removes distributions from the catalog, as if they were not installed."""

    def do(*distributions: str) -> None:
        catalog = plugins.catalog()
        plugins_left = tuple(plugin for plugin in catalog.plugins if plugin.distribution not in distributions)
        monkeypatch.setattr("det_core.plugins.discovery._catalog", replace(catalog, plugins=plugins_left))

    return do
