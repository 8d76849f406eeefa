"""Small generated films: moving discs whose boxes and identities are known."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (120, 160)
RATE = 25
COLORS = ((230, 40, 40), (40, 200, 60), (60, 80, 240), (240, 220, 40))


def boxes_at(index: int, count: int = 3, size: tuple[int, int] = SIZE) -> NDArray[np.float64]:
    """Boxes (count, 4) of discs that cross the picture on rows of their own, there and back."""
    height, width = size
    diameter = 20
    span = width - diameter
    rows = []
    for number in range(count):
        along = (index * (1 + number) + 30 * number) % (2 * span)
        x0 = along if along < span else 2 * span - along
        y0 = 10 + number * (height - 30) / max(1, count)
        rows.append((x0, y0, x0 + diameter, y0 + diameter))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def picture(index: int, count: int = 3, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """RGB (H, W, 3) with the discs of `boxes_at`; number 0 is red."""
    pixels = np.full((*size, 3), 30, dtype=np.uint8)
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    for box, color in zip(boxes_at(index, count, size), COLORS, strict=False):
        cx, cy, radius = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2
        pixels[(xs - cx) ** 2 + (ys - cy) ** 2 < radius**2] = color
    return pixels


def write(
    path: Path,
    frames: int = 30,
    times: Sequence[float] | None = None,
    size: tuple[int, int] = SIZE,
    codec: str = "mpeg4",
    gop: int = 10,
    pictures: Iterator[NDArray[np.uint8]] | None = None,
) -> Path:
    """Write a film; `times` in seconds, else 25 a second."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = gop
        stream.bit_rate = 2_000_000
        output.start_encoding()
        for index, pixels in enumerate(pictures or (picture(each, size=size) for each in range(frames))):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(1000 * (index / RATE if times is None else times[index]))
            frame.time_base = Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def turned(path: Path, degrees: int) -> Path:
    """Write a rotation into the track header of an MP4 file, in place: clockwise, as players show it."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # after version, flags, times, duration, layer, volume
    one = 0x10000
    a, b = {90: (0, one), 180: (-one, 0), 270: (0, -one)}[degrees]
    values = [a, b, 0, -b, a, 0]
    for place, value in enumerate(values):
        content[start + 4 * place : start + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    return path
