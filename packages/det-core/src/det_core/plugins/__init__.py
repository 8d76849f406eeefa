"""Installed plugins: hooks, discovery, and the names that they offer; nothing here imports torch.

`catalog()` lists what is installed. The other modules of this package are `hooks` (the hooks of plugins), `registry`
(from a name to the callable behind it) and `builtin` (the components of core).
"""

from det_core.plugins.discovery import (
    CORE,
    DISABLE,
    TIMEOUT,
    Catalog,
    Issue,
    Plugin,
    Status,
    canonical,
    catalog,
    foreign_code,
    left_threads,
)

__all__ = [
    "CORE",
    "DISABLE",
    "TIMEOUT",
    "Catalog",
    "Issue",
    "Plugin",
    "Status",
    "canonical",
    "catalog",
    "foreign_code",
    "left_threads",
]
