"""Whether a JPEG may be decoded at a half, quarter or eighth of its size where it is made smaller anyway.

Each photograph is resized to a smaller one, once from all of its pixels and once from what the decoder gives at the
smallest of its own sizes that is still `margin` times as large as what is wanted; told are the time of both, decoding
and resizing together, and how far the results differ (PSNR in dB; beside it, what one more compression at quality 95
does to the same photograph, and how many photographs that changes more).

Run it: python benchmarks/reduced_decode.py [DIR ...] [--images 40]
"""

import argparse
import io
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.data import from_pil
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

RESULTS = Path(__file__).parent / "results" / "reduced_decode.json"
PHOTOGRAPHS = Path(__file__).parent.parent / "examples" / "blood-cells" / "images"
SHARES, MARGINS = (0.5, 0.25, 0.125), (1, 2, 4)


def whole(path: Path, size: list[int]) -> Tensor:
    """Resized from all pixels."""
    with Image.open(path) as picture:
        return functional.resize(from_pil(picture), size, antialias=True)


def reduced(path: Path, size: list[int], margin: int) -> Tensor:
    """Resized from a decoded image at least `margin` times as large."""
    with Image.open(path) as picture:
        picture.draft(None, (margin * size[1], margin * size[0]))
        return functional.resize(from_pil(picture), size, antialias=True)


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise, dB."""
    error = float((a.double() - b.double()).square().mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def again(image: Tensor) -> Tensor:
    """The image after one more compression."""
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=95)
    with Image.open(stream) as picture:
        return from_pil(picture)


def seconds(call: Callable[[], Any]) -> float:
    """Processor time of the quicker of two calls."""
    found = []
    for _ in range(2):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def measure(paths: Sequence[Path], share: float, margin: int) -> dict[str, float]:
    """The figures of one share of the size and one margin."""
    times, levels, noise = np.zeros(2), [], []
    for path in paths:
        with Image.open(path) as picture:
            size = [round(side * share) for side in (picture.height, picture.width)]
        full = whole(path, size)
        levels.append(psnr(full, reduced(path, size, margin)))
        noise.append(psnr(full, again(full)))
        times += [seconds(lambda: whole(path, size)), seconds(lambda: reduced(path, size, margin))]  # noqa: B023
    return {
        "ms from all pixels": round(1000 * times[0] / len(paths), 1),
        "ms reduced": round(1000 * times[1] / len(paths), 1),
        "times as fast": round(times[0] / times[1], 2),
        "PSNR": round(float(np.mean(levels)), 1),
        "worst PSNR": round(min(levels), 1),
        "PSNR of a compression": round(float(np.mean(noise)), 1),
        "closer than a compression": round(float(np.mean(np.array(levels) > noise)), 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description="Speed and quality of decoding JPEG at a reduced size.")
    parser.add_argument("folders", type=Path, nargs="*", default=[PHOTOGRAPHS], help="of photographs")
    parser.add_argument("--images", type=int, default=40, help="how many of each folder")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    print("| photographs | to | margin | all pixels | reduced | faster | PSNR | worst | a compression | closer |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for folder in given.folders:
        paths = sorted(folder.glob("*.jpg"))[: given.images]
        name = "/".join(folder.resolve().parts[-2:])
        for share in SHARES:
            for margin in MARGINS:
                if share * margin > 0.5:  # all pixels are decoded
                    continue
                own = measure(paths, share, margin)
                figures[f"{name}, {share}, {margin}"] = own
                times = f"{own['ms from all pixels']} ms | {own['ms reduced']} ms | {own['times as fast']}"
                closer = f"{own['PSNR of a compression']} | {own['closer than a compression']:.0%}"
                levels = f"{own['PSNR']} | {own['worst PSNR']} | {closer}"
                print(f"| {name} | {share} | {margin} | {times} | {levels} |", flush=True)
    machine = {"torch": torch.__version__, "python": platform.python_version(), "images": given.images}
    RESULTS.write_text(json.dumps({"figures": figures, **machine}, indent=2) + "\n")


if __name__ == "__main__":
    main()
