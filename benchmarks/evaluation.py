"""How long COCO's figures take by hotcoco and by pycocotools, which give the same arrays: checked here once more.

The truth is generated, 80 classes and crowds; the detections are made of it: moved, missed, doubled, mislabelled.
COCO's own annotations are looked at too if a folder with them is given.
Run it: python benchmarks/evaluation.py [DIR]; DIR holds instances_val2017.json and person_keypoints_val2017.json.
"""

import json
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from det_core.evaluation.curves import Backend, Curves, IouType, curves
from det_core.evaluation.figures import LIMITS
from det_devkit.conformance.perturbed import perturbed
from det_inspect.results.coco_files import CocoFiles, read_files

RESULTS = Path(__file__).parent / "results" / "evaluation.json"
IMAGES, CLASSES, SIDE = 300, 80, 480


def generated() -> dict[str, Any]:
    """A COCO file: seven objects an image, of all sizes, with outlines; one in fifty is a crowd."""
    rng = np.random.default_rng(0)
    annotations = []
    for image_id in range(IMAGES):
        for _ in range(int(rng.integers(0, 15))):
            w, h = np.exp(rng.uniform(np.log(8), np.log(200), 2)).tolist()
            x, y = (rng.random(2) * (SIDE - w, SIDE - h)).tolist()
            own = {"id": len(annotations) + 1, "image_id": image_id, "category_id": int(rng.integers(CLASSES))}
            ring = [x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]
            own |= {
                "bbox": [x, y, w, h],
                "area": w * h / 2,
                "segmentation": [ring],
                "iscrowd": int(rng.random() < 0.02),
            }
            annotations.append(own)
    images = [{"id": image_id, "height": SIDE, "width": SIDE} for image_id in range(IMAGES)]
    categories = [{"id": label, "name": str(label)} for label in range(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def cases(folder: Path | None) -> Iterator[tuple[str, CocoFiles]]:
    """A name, and what is judged."""
    contents = {"generated": generated()}
    for name in ("instances_val2017", "person_keypoints_val2017") if folder else ():
        contents[name] = json.loads((folder / f"{name}.json").read_text())
    with TemporaryDirectory() as temporary:
        truth, found = Path(temporary) / "truth.json", Path(temporary) / "found.json"
        for name, content in contents.items():
            truth.write_text(json.dumps(content))
            found.write_text(json.dumps(perturbed(content)))
            yield name, read_files(truth, found)


def measure(files: CocoFiles, iou_type: IouType, backend: Backend) -> tuple[float, Curves]:
    """Seconds, the least of three, and the arrays."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        made = curves(files.ground_truth, files.detections, iou_type, LIMITS[iou_type], backend=backend)
        seconds.append(time.perf_counter() - start)
    return min(seconds), made


def main() -> None:
    """Measure, print a table, write the figures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    table: dict[str, dict[str, Any]] = {}
    print(f"{'milliseconds':38}{'pycocotools':>14}{'hotcoco':>10}{'ratio':>8}")
    for name, files in cases(folder):
        for iou_type in files.iou_types:
            (slow, reference), (fast, made) = (measure(files, iou_type, each) for each in ("pycocotools", "hotcoco"))
            if not all(map(np.array_equal, made, reference)):
                raise SystemExit(f"{name}, {iou_type}: hotcoco gives other arrays than pycocotools")
            row = {"pycocotools": round(slow * 1e3, 1), "hotcoco": round(fast * 1e3, 1), "ratio": round(slow / fast, 1)}
            table[f"{name}, {iou_type}"] = {"results": len(files.detections["annotations"]), **row}
            print(f"{name + ', ' + iou_type:38}{row['pycocotools']:14.1f}{row['hotcoco']:10.1f}{row['ratio']:8.1f}")
    versions = {name: version(name) for name in ("hotcoco", "pycocotools")}
    RESULTS.parent.mkdir(exist_ok=True)
    figures = {"milliseconds": table, "versions": versions, "python": platform.python_version()}
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
