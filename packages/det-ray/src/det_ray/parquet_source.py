"""Images in Parquet files: a column of their content, or of their paths and addresses."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from det_core.errors import ConfigError, DataError
from det_core.plugins.registry import did_you_mean

__all__ = ["count_rows", "find_column", "read_rows", "row_groups"]

# In the order of preference; where content and paths are both there, content is nearer.
_USUAL = ("image", "bytes", "content", "jpg", "jpeg", "png", "path", "image_path", "file_name", "file", "url")


def count_rows(file: Any, name: str) -> int:
    """The number of rows by the footer of an open file.

    Raises:
        DataError: it is no Parquet file, or cut short.
    """
    return int(_opened(file, name).metadata.num_rows)


def _opened(file: Any, name: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        fix = "get the file again, or leave it out of the source"
        raise DataError(name, "cannot be read as a Parquet file", str(error), fix) from error


def find_column(file: Any, name: str, column: str | None) -> str:
    """The column of the images: `column`, or else the first of the usual names.

    A column holds content (binary), paths (string), or both (a struct with "bytes" and "path").

    Raises:
        ConfigError: there is none, or it is of another type.
    """
    schema = _opened(file, name).schema_arrow
    fits = [field.name for field in schema if _fits(field.type)]
    if column is None:
        usual = next((each for each in _USUAL if each in fits), fits[0] if len(fits) == 1 else None)
        if usual is not None:
            return usual
        problem = "has no column that is known to hold images" if fits else "has no column of bytes or of paths"
        raise ConfigError(name, problem, f"it has {_described(schema)}", "name it with --column")
    if column not in schema.names:
        fix = did_you_mean(column, schema.names) or f"it has {_described(schema)}"
        raise ConfigError("--column", f"{name} has no column {column!r}", fix=fix)
    if column not in fits:
        found = f"it is {schema.field(column).type}"
        raise ConfigError("--column", f"{column!r} of {name} holds neither content nor paths of images", found)
    return column


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in list(schema)[:20])


def _fits(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name in ("bytes", "path") for field in kind)
    checks = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string, pa.types.is_large_string)
    return any(check(kind) for check in checks)


def read_rows(
    file: Any, name: str, column: str | None, first: int, count: int
) -> Iterator[tuple[str, bytes | str | DataError]]:
    """For each of `count` rows its name, and the content of the image, its path, or why there is neither.

    Row groups are read one at a time; one that cannot be read gives an error for each of its rows.
    """
    table = _opened(file, name)
    column = find_column(file, name, column)
    for group, rows, offset in row_groups(table.metadata, first, count):
        values: list[Any]
        try:
            read = table.read_row_group(group, columns=[column]).column(0)
            values = read.slice(offset, len(rows)).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            values = [DataError(f"{name}::{row}", "the row cannot be read", str(error)) for row in rows]
        for row, value in zip(rows, values, strict=True):
            yield _row_content(f"{name}::{row}", value)


def row_groups(metadata: pq.FileMetaData, first: int, count: int) -> Iterator[tuple[int, range, int]]:
    """The row groups that hold some of `count` rows from `first` on: number, these rows, and where they begin in it."""
    start = 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        rows = range(max(first, start), min(first + count, end))
        if rows:
            yield group, rows, rows[0] - start
        start = end


def _row_content(name: str, value: Any) -> tuple[str, bytes | str | DataError]:
    """The name of an image, and its content or path."""
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
        if content is not None:
            return (f"{name}::{path}" if path else name), content
        value = path
    if isinstance(value, str) and value:
        return value, value
    if value is None or value == "":
        return name, DataError(name, "the row holds no image")
    return name, value
