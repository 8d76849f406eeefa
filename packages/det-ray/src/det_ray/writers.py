"""The writer of `det predict --save parquet`: the rows of `det ray predict` in one file."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from det_core.predict import Result
from det_core.predict.writers import ImageName

from det_ray.folder import write_whole
from det_ray.rows import DISTRIBUTIONS, digest, row_of, table_of, versions_of

__all__ = ["ParquetWriter"]


class ParquetWriter:
    """Writes results.parquet, a row per image; its column `model` is empty.

    Args:
        folder: where the file goes; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[str, Any]] = []

    def write(self, result: Result, name: ImageName) -> None:
        """Add an image."""
        content_hash = None
        with suppress(OSError):  # an address
            content_hash = digest(Path(name.source).read_bytes())
        self._rows.append(row_of(name.source or name.file_name, content_hash, result))

    def finish(self) -> None:
        """Write the file."""
        table = table_of(self._rows, "", versions_of(DISTRIBUTIONS))
        write_whole(self._folder / "results.parquet", lambda file: pq.write_table(table, file, compression="zstd"))
