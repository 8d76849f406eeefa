"""How soon `det view` shows the first page of a large set.

    python benchmarks/view.py            # writes benchmarks/results/view.json

A COCO file lists 10 000 pictures with 7 objects each; their files are links to 24 photographs of
examples/blood-cells. Figures: reading the file; answers of the server for the first page of the list, the first 40
thumbnails (not stored before, and again), a filter by class and size, and, with predictions for all pictures, the order
by errors (first time, and again). With playwright and a chromium of the machine also the time in which a browser shows
all thumbnails in sight.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import httpx
from det_core.data import CocoDataset
from det_inspect.view.picture_set import PictureSet, read_set
from det_inspect.view.predictions import read_predictions
from det_inspect.view.server import Server
from det_inspect.view.session import Session

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "examples" / "blood-cells"
RESULT = ROOT / "benchmarks" / "results" / "view.json"
IN_SIGHT = 40


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), options.pictures)
    for name, value in figures.items():
        print(f"{name:44} {value if isinstance(value, str | int) else f'{value:.3f} s'}")
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def measured(folder: Path, count: int) -> dict[str, Any]:
    """All figures, seconds."""
    annotations, results = write_files(folder, count)
    figures: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "pictures": count}
    pictures, figures["reading the file"] = timed(
        lambda: read_set({"val": CocoDataset.listing(folder / "images", annotations)})
    )
    predictions, figures["reading predictions"] = timed(lambda: read_predictions(results, pictures))
    session = Session("benchmark", pictures, folder / "cache", [predictions])
    with running(session) as url, httpx.Client(base_url=url, timeout=120) as client:
        figures |= of_requests(client)
    shutil.rmtree(folder / "cache")
    if shutil.which("chromium"):
        figures["browser: first page, no thumbnail stored"] = in_browser(pictures, folder)
        figures["browser: first page again"] = in_browser(pictures, folder)
    return figures


def of_requests(client: httpx.Client) -> dict[str, float]:
    """Times of answers."""

    def seconds(*addresses: str) -> float:
        return timed(lambda: [client.get(each).raise_for_status() for each in addresses])[1]

    thumbnails = [f"/pictures/{index}/thumbnail" for index in range(IN_SIGHT)]
    return {
        "first page of the list, with errors": seconds("/api/set", "/api/pictures"),
        "order by errors, first time": seconds("/api/pictures?sort=worst"),
        "order by errors, another score": seconds("/api/pictures?sort=worst&score=0.7"),
        "filter by class and size": seconds("/api/pictures?class=0&size=large"),
        f"{IN_SIGHT} thumbnails, not stored": seconds(*thumbnails),
        f"{IN_SIGHT} thumbnails, stored": seconds(*thumbnails),
    }


def in_browser(pictures: PictureSet, folder: Path) -> float:
    """Time from the request of the page until all thumbnails in sight are there; without predictions."""
    from playwright.sync_api import sync_playwright

    there = "() => { const all = [...document.querySelectorAll('.tile img')];"
    there += " return all.length >= 12 && all.every((each) => each.complete && each.naturalWidth); }"
    with running(Session("benchmark", pictures, folder / "cache")) as url, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        _, seconds = timed(lambda: (page.goto(url), page.wait_for_function(there, timeout=120_000)))
        browser.close()
    return seconds


def write_files(folder: Path, count: int) -> tuple[Path, Path]:
    """Annotations and results of pictures that are links to a few photographs."""
    (folder / "images").mkdir()
    photographs = sorted((CELLS / "images").glob("*.jpg"))[:24]
    images, objects, results = [], [], []
    for number in range(count):
        name = f"{number:06}.jpg"
        (folder / "images" / name).symlink_to(photographs[number % len(photographs)])
        images.append({"id": number, "file_name": name, "height": 480, "width": 640})
        for place in range(7):
            box = [10 + 80 * place, 10 + 7 * (number % 50), 20 + 15 * place, 60]
            entry = {"image_id": number, "category_id": place % 3, "bbox": box}
            objects.append({"id": len(objects), "iscrowd": 0, "area": box[2] * 60, **entry})
            results.append(
                {**entry, "bbox": [box[0] + number % 20, *box[1:]], "score": (number * 7 + place) % 100 / 100}
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(("a", "b", "c"))]
    content = {"images": images, "annotations": objects, "categories": categories}
    for name, part in (("all.json", content), ("results.json", results)):
        (folder / name).write_text(json.dumps(part), "utf-8")
    return folder / "all.json", folder / "results.json"


@contextlib.contextmanager
def running(session: Session) -> Iterator[str]:
    """The server of a session; gives its address."""
    server = Server(session)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    yield server.url
    server.should_exit = True


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its time in seconds."""
    started = time.perf_counter()
    value = call()
    return value, time.perf_counter() - started


if __name__ == "__main__":
    main()
