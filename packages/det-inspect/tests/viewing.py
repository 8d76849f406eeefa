"""Data sets for `det view`, and its server in a thread."""

import contextlib
import json
import threading
import time

import numpy as np
from det_core.data.formats.coco import CocoDataset
from det_inspect.view.picture_set import read_set
from det_inspect.view.server import Server
from det_inspect.view.session import Session
from PIL import Image
from pycocotools import mask as coco_mask

SCRIPT = "<script>document.title='gone'</script>"


def write_set(folder, extra=()):
    """Four pictures (one broken, one missing), with all kinds of objects; returns the annotation file."""
    (folder / "images").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.tif")):
        pixels = np.full((60, 80, 3), 90 + 60 * number, np.uint8)
        pixels[20:50, 10:40] = (200, 40, 40)
        Image.fromarray(pixels).save(folder / "images" / name)
    (folder / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    (folder.parent / "secret.png").write_bytes((folder / "images" / "a.png").read_bytes())
    names = ("a.png", "b.tif", "broken.jpg", "missing.jpg", "../../secret.png")
    images = [{"id": 10 + n, "file_name": name, "height": 60, "width": 80} for n, name in enumerate(names)]
    mask = np.zeros((60, 80), np.uint8, order="F")
    mask[20:50, 10:40] = 1
    rle = coco_mask.encode(mask)
    points = [12, 22, 2, 30, 40, 2, 0, 0, 0]
    people = {"keypoints": ["head", "hand", "foot"], "skeleton": [[1, 2], [2, 3], [1, 9]]}
    entries = [
        {"image_id": 10, "category_id": 1, "bbox": [10, 20, 30, 30], "segmentation": [[10, 20, 40, 20, 40, 50]]},
        {"image_id": 10, "category_id": 2, "bbox": [40, 30, 20, 10, 30.0]},
        {"image_id": 11, "category_id": 3, "bbox": [10, 20, 30, 30], "keypoints": points, "num_keypoints": 2},
        {
            "image_id": 11,
            "category_id": 1,
            "bbox": [10, 20, 30, 30],
            "segmentation": {"size": [60, 80], "counts": rle["counts"].decode()},
        },
        {"image_id": 12, "category_id": 1, "bbox": [0, 0, 8, 8]},
        {"image_id": 10, "category_id": 1, "bbox": [70, 50, 40, 40]},
        {"image_id": 10, "category_id": 9, "bbox": [1, 1, 4, 4]},
        *extra,
    ]
    annotations = [{"id": n, "area": 900, "iscrowd": 0, **each} for n, each in enumerate(entries, 1)]
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": SCRIPT}, {"id": 3, "name": "person", **people}]
    content = {"info": {"year": 2026}, "images": images, "annotations": annotations, "categories": categories}
    file = folder / "val.json"
    file.write_text(json.dumps(content), "utf-8")
    return file


def session_of(file, cache, **options):
    """The session of one annotation file."""
    listing = CocoDataset.listing(file.parent / "images", file)
    return Session(file.name, read_set({"val": listing}), cache, **options)


@contextlib.contextmanager
def running(session):
    """The server of a session on a free port, which is stopped in the end; yields it."""
    server = Server(session)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(20)


def eventually(read, check, seconds=20):
    """The first value of `read` that passes the check."""
    end = time.monotonic() + seconds
    while not check(value := read()):
        assert time.monotonic() < end, value
        time.sleep(0.02)
    return value


def write_results(file, entries):
    """A file of COCO results, with a score of 0.9 unless an entry has another; returns it."""
    file.write_text(json.dumps([{"score": 0.9, **each} for each in entries]), "utf-8")
    return file


FIRST = (
    {"image_id": 10, "category_id": 1, "bbox": [10, 20, 30, 30]},
    {"image_id": 10, "category_id": 1, "bbox": [11, 20, 30, 30], "score": 0.8},
    {"image_id": 10, "category_id": 2, "bbox": [40, 30, 20, 10, 30.0], "score": 0.7},
    {"image_id": 10, "category_id": 1, "bbox": [50, 2, 9, 9], "score": 0.4},
    {"image_id": 11, "category_id": 2, "bbox": [10, 20, 30, 30], "score": 0.6},
)
"""Right, duplicate, right (rotated), background; and of another class."""
SECOND = (
    {"image_id": 10, "category_id": 1, "bbox": [10, 20, 30, 18], "score": 0.95},
    {"image_id": 11, "category_id": 1, "bbox": [10, 20, 30, 30]},
    {"image_id": 11, "category_id": 3, "bbox": [10, 20, 30, 30], "keypoints": [12, 22, 2, 30, 40, 2, 0, 0, 0]},
)
"""IoU of 0.6; and all of the second picture."""


def write_run(folder, annotations):
    """The folder of a run of 40 steps that has reached step 20, on a set of `write_set`; returns it."""
    folder.mkdir(parents=True)
    data = {"type": "det-core/coco", "images": str(annotations.parent / "images"), "annotations": str(annotations)}
    tree = {"model": {"type": "retinanet"}, "data": {"val": data}, "train": {"steps": 40}}
    (folder / "recipe.resolved.yaml").write_text(json.dumps(tree), "utf-8")
    add_steps(folder, [{"step": 10, "loss": 1.0, "lr": 0.1}, {"step": 20, "loss": 0.5, "lr": 0.1}])
    return folder


def add_steps(folder, rows):
    """Append rows to the scalars of a run."""
    with (folder / "scalars.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
