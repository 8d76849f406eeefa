"""Files by path or address, as `detectron2.utils.file_io`."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["PathManager"]


class _PathManager:
    """Local files, and files at addresses that are downloaded once into det's cache."""

    def get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        """Where a file is on this machine."""
        if "://" not in path:
            return path
        from det_core.weights.sources import fetch

        return str(fetch(path))

    def open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        """As Python's `open`."""
        return Path(self.get_local_path(path)).open(mode, **kwargs)

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""
        return Path(path).exists()

    def isfile(self, path: str) -> bool:
        """Whether there is a file."""
        return Path(path).is_file()

    def isdir(self, path: str) -> bool:
        """Whether there is a folder."""
        return Path(path).is_dir()

    def ls(self, path: str) -> list[str]:
        """The names in a folder."""
        return sorted(each.name for each in Path(path).iterdir())

    def mkdirs(self, path: str) -> None:
        """Make a folder and those above it."""
        Path(path).mkdir(parents=True, exist_ok=True)

    def rm(self, path: str) -> None:
        """Delete a file."""
        Path(path).unlink()

    def copy(self, src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        """Copy a file; False if there is one and `overwrite` is not given."""
        if Path(dst_path).exists() and not overwrite:
            return False
        shutil.copyfile(self.get_local_path(src_path), dst_path)
        return True

    def register_handler(self, handler: Any, allow_override: bool = True) -> None:
        """Accepted; addresses are resolved by det."""

    def __iter__(self) -> Iterator[str]:
        return iter(())


PathManager = _PathManager()
