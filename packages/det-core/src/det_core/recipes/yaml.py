"""The YAML of recipes, as `det_safeload.yamlfile` reads and writes it; a refusal is a `RecipeError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from det_safeload import yamlfile
from det_safeload.content import ContentError
from det_safeload.yamlfile import Tags, dump, texts

from det_core.errors import RecipeError

__all__ = ["dump", "parse", "read", "texts"]

_NO_TAGS: Tags = MappingProxyType({})


def read(path: Path, tags: Tags = _NO_TAGS) -> Any:
    """The content of a file; RecipeError if it cannot be read, is not text or is not YAML of this kind."""
    with _recipe_errors():
        return yamlfile.read(path, tags)


def parse(text: str, where: str, tags: Tags = _NO_TAGS) -> Any:
    """The value of a YAML text; `where` is its name in errors."""
    with _recipe_errors():
        return yamlfile.parse(text, where, tags)


@contextmanager
def _recipe_errors() -> Iterator[None]:
    try:
        yield
    except ContentError as error:
        raise RecipeError(error.where, error.problem, error.found, error.fix) from error.__cause__
