"""The folder of a run: the plan, and a file per block that is there as a whole or not at all."""

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from det_core.errors import ConfigError, DataError
from det_safeload.locks import HeldError, lock

from det_ray.parquet_source import row_groups

__all__ = ["RunFolder", "take_rows", "write_whole"]

_SUMMARY = b"det-ray"  # key in the metadata of a block's footer
_BEGUN = {"blocks", "examples", "journals", "plan.parquet", "run.lock"}  # what there may be before a plan
_GROUP = 16_384  # entries in a row group of the plan


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place, and rename it when it is complete and on the disk.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    part = path.with_name(f"{path.name}.{socket.gethostname()}-{uuid.uuid4().hex[:12]}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


class RunFolder:
    """Files of a run; processes of all machines see the same folder.

    Args:
        path: the folder.

    Attributes:
        blocks: the results, 00000000.parquet and so on.
        examples: pictures with objects drawn on them.
        journals: which images were begun by workers that died.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blocks, self.examples, self.journals = path / "blocks", path / "examples", path / "journals"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other drivers out of it; what dead workers left half-written is removed.

        Raises:
            ConfigError: it cannot be made, is no folder of a run, or another process writes into it.
        """
        others = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        if others and not self.exists and not set(others) <= _BEGUN:
            raise ConfigError(
                "--output", f"{self.path} holds other files", others[0], "choose a new or an empty folder"
            )
        try:
            for folder in (self.blocks, self.examples, self.journals):
                folder.mkdir(parents=True, exist_ok=True)
            with lock(self.path / "run.lock"):
                for part in self.path.rglob("*.part"):
                    part.unlink(missing_ok=True)
                yield
        except FileExistsError as error:
            raise ConfigError("--output", "is a file, not a folder", str(self.path), "choose another") from error
        except HeldError as error:
            fix = "wait for it, or choose another folder"
            raise ConfigError("--output", f"{self.path} is written by another run", str(error), fix) from error

    @property
    def exists(self) -> bool:
        """Whether it holds a plan."""
        return (self.path / "plan.json").exists()

    def write_plan(self, about: Mapping[str, Any], entries: pa.Table) -> None:
        """Write the listing, and then what it was made for, which makes it valid."""
        write_whole(self.path / "plan.parquet", lambda file: pq.write_table(entries, file, row_group_size=_GROUP))
        self.write_json("plan.json", about)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file of the folder."""
        text = json.dumps(content, indent=1)
        write_whole(self.path / name, lambda file: file.write(text.encode()))

    def read_plan(self) -> dict[str, Any]:
        """What `write_plan` wrote.

        Raises:
            DataError: the file is damaged.
        """
        path = self.path / "plan.json"
        try:
            about: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(str(path), "cannot be read", str(error), "choose another folder for --output") from error
        return about

    def block(self, number: int) -> Path:
        """The file of a block."""
        return self.blocks / f"{number:08d}.parquet"

    def done(self) -> set[int]:
        """The numbers of the blocks that are complete."""
        names = (Path(name) for name in os.listdir(self.blocks)) if self.blocks.is_dir() else ()  # noqa: PTH208
        return {int(name.stem) for name in names if name.suffix == ".parquet" and name.stem.isdigit()}

    def write_block(self, number: int, table: pa.Table, summary: Mapping[str, Any]) -> None:
        """Commit the rows of a block, with a summary in the footer of the file."""
        table = table.replace_schema_metadata({_SUMMARY: json.dumps(summary).encode()})
        write_whole(self.block(number), lambda file: pq.write_table(table, file, compression="zstd"))

    def summary(self, number: int) -> dict[str, Any]:
        """The summary of a block, from the footer of its file alone.

        Raises:
            DataError: the file is damaged.
        """
        path = self.block(number)
        try:
            metadata = pq.read_schema(path).metadata or {}
            summary: dict[str, Any] = json.loads(metadata[_SUMMARY])
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            fix = "remove this file, and give the command again"
            raise DataError(str(path), "is not a block of this run", str(error), fix) from error
        return summary


def take_rows(path: Path, first: int, count: int) -> Sequence[Mapping[str, Any]]:
    """Some rows of a Parquet file, of whose row groups only those that hold them are read."""
    table = pq.ParquetFile(path)
    groups = row_groups(table.metadata, first, count)
    parts = (table.read_row_group(group).slice(offset, len(rows)) for group, rows, offset in groups)
    return [row for part in parts for row in part.to_pylist()]
