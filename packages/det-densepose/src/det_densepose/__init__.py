"""DensePose for det: every pixel of a person, or of an animal, on the surface of a body.

`iuv(result)`, `vertices(result)` and `persons(result)` are those of `det_densepose.results`; they are imported on their
first use, so that finding the package imports nothing.
"""

from typing import Any

__all__ = ["iuv", "persons", "vertices"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from det_densepose import results

        return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
