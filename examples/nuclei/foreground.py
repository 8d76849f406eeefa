"""Makes label images of the nuclei, in which each pixel is background (0) or nucleus (1), for semantic segmentation.

    python examples/nuclei/foreground.py runs/nuclei/foreground

writes for both splits a folder `images` and a folder `labels`, which `semantic_folder` reads.
"""

import shutil
import sys
from pathlib import Path

from det_core.data import CocoDataset
from PIL import Image

HERE = Path(__file__).resolve().parent


def main(target: Path) -> None:
    """Write the images and labels of both splits below `target`."""
    for split in ("train", "val"):
        dataset = CocoDataset(HERE / "images", HERE / f"instances_{split}.json", masks="bitmaps")
        images, labels = target / split / "images", target / split / "labels"
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(exist_ok=True)
        for sample in dataset:
            shutil.copy(sample.path, images)
            nucleus = sample.targets.masks.any(dim=0)
            Image.fromarray(nucleus.byte().numpy()).save(labels / sample.path.name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python foreground.py FOLDER")
    main(Path(sys.argv[1]))
