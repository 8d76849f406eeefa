"""The smallest datasets of each format that hold an object, as arguments of their readers."""

import struct
import zlib
from pathlib import Path
from typing import Any

from det_devkit import coco_files


def coco(folder: Path) -> dict[str, Any]:
    images, annotations = coco_files.write(folder, coco_files.content())
    return {"images": images, "annotations": annotations}


def png(width: int, height: int, mode: int = 2) -> bytes:
    """A PNG that claims a size, with next to nothing in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 2**20)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
