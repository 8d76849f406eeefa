"""What tracking costs, and the share of decoding and drawing beside a small detector.

Run it: python benchmarks/video.py [--tracking]   (--tracking: without the detector)

Tracking: 50 boxes that move at random speeds, with misses, false boxes and shifts, by `ByteTracker`; milliseconds per
frame, which may be 5. Decoding and drawing: a film of 640 x 480 by the detector of examples/blood-cells; processor time
of reading and converting frames, of predicting, tracking, drawing and encoding. Decoding and drawing may take 20 % of
the prediction. Tiles: a photograph of 4000 x 3000, which may take 1.5 times the time of its tiles alone. Pose: the same
film by `keypoint_rcnn_fbnetv3a_dsmask_c4` of det-mobile with random weights, whose detections fill all its regions.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from det_core.structures import Detections
from det_video.tracking import ByteTracker

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "video.json"
CELLS = ROOT / "examples" / "blood-cells"
OBJECTS, FRAMES, SIZE = 50, 200, (1080, 1920)


def crowd(random: np.random.Generator) -> list[Detections]:
    """The detections of each frame: 50 objects, of which a tenth has a low score, and five false boxes."""
    sides = random.uniform(30, 120, (OBJECTS, 2))
    places = random.uniform(0, 1, (OBJECTS, 2)) * (np.array(SIZE[::-1]) - 120)
    speeds = random.uniform(-5, 5, (OBJECTS, 2))
    frames = []
    for index in range(FRAMES):
        corners = (places + index * speeds) % (np.array(SIZE[::-1]) - 120) + random.normal(0, 1, (OBJECTS, 2))
        boxes = np.concatenate([corners, corners + sides], 1)
        false = random.uniform(0, 900, (5, 2))
        boxes = np.concatenate([boxes, np.concatenate([false, false + 60], 1)])
        scores = np.where(random.random(len(boxes)) < 0.1, 0.3, random.uniform(0.7, 1, len(boxes)))
        frames.append(
            Detections(
                boxes=torch.from_numpy(boxes).float(),
                labels=torch.zeros(len(boxes), dtype=torch.int64),
                scores=torch.from_numpy(scores).float(),
                size=SIZE,
            )
        )
    return frames


def tracking() -> dict[str, float]:
    """Milliseconds per frame: the median, and the 95th percentile."""
    tracker, times = ByteTracker(), []
    for detections in crowd(np.random.default_rng(0)):
        start = time.process_time()
        tracker.update(detections)
        times.append(1000 * (time.process_time() - start))
    return {"objects": OBJECTS, "median_ms": statistics.median(times), "p95_ms": float(np.percentile(times, 95))}


def film(path: Path, frames: int = 40) -> Path:
    """A film that moves over a photograph, 640 x 480."""
    from PIL import Image

    photo = Image.open(CELLS / "images" / "BloodImage_00007.jpg").convert("RGB").resize((960, 720))
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for index in range(frames):
            window = photo.crop((4 * index, 2 * index, 4 * index + 640, 2 * index + 480))
            output.mux(stream.encode(av.VideoFrame.from_image(window)))
        output.mux(stream.encode(None))
    return path


def shares() -> dict[str, float]:
    """Milliseconds of processor time per frame of each step."""
    from det_core import Detector
    from det_core.predict.writers import ImageName
    from det_video.drawing import TrackDrawing
    from det_video.frames import Video
    from det_video.stream import FrameResult
    from det_video.writers import FilmWriter

    spent: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        value = call()
        spent[name] = spent.get(name, 0.0) + 1000 * (time.process_time() - start)
        return value

    detector = Detector.load(CELLS / "detector.safetensors", device="cpu").optimize()
    tracker = ByteTracker(high=detector.threshold)
    with tempfile.TemporaryDirectory() as folder:
        frames = Video(film(Path(folder) / "film.mp4")).frames()
        writer, drawing = FilmWriter(Path(folder)), TrackDrawing()
        count = 0
        while (frame := timed("decode", lambda: next(frames, None))) is not None:
            found = timed("predict", lambda frame=frame: detector(frame.image, 0.1))
            tracked = timed("track", lambda found=found: tracker.update(found.detections))
            values = {**found.__dict__, "index": frame.index, "time": frame.time}
            values["prediction"] = type(found.prediction)(detections=tracked)
            result, name = FrameResult(**values), ImageName(frame.index, "", "")
            timed("draw", lambda result=result: drawing(result))
            timed("write", lambda result=result, name=name: writer.write(result, name))
            count += 1
        timed("write", writer.finish)
    each = {f"{name}_ms": total / count for name, total in spent.items()}
    each["encode_ms"] = each.pop("write_ms") - each["draw_ms"]  # the film is drawn within
    return {**each, "decode_and_draw_of_predict": (each["decode_ms"] + each["draw_ms"]) / each["predict_ms"]}


def tiles() -> dict[str, float]:
    """Processor seconds of a large photograph in tiles, and of the tiles one by one."""
    from det_core import Detector
    from det_core.data import read_image
    from det_inspect.predictions.tiles import TiledDetector, tile_windows

    photo = read_image(CELLS / "images" / "BloodImage_00007.jpg")
    large = photo.repeat(1, -(-3000 // photo.shape[1]), -(-4000 // photo.shape[2]))[:, :3000, :4000].contiguous()
    detector = Detector.load(CELLS / "detector.safetensors", device="cpu").optimize()
    windows = tile_windows((3000, 4000), 800, 0.2)
    crops = [large[:, top:bottom, left:right].contiguous() for left, top, right, bottom in windows]
    detector(crops[0])
    start = time.process_time()
    for crop in crops:
        detector(crop)
    alone = time.process_time() - start
    start = time.process_time()
    found = TiledDetector(detector, 800, 0.2)(large)
    whole = time.process_time() - start
    figures = {"tiles": len(windows), "objects": len(found), "tiles_s": alone, "whole_s": whole}
    return {**figures, "whole_of_tiles": whole / alone}


def pose() -> dict[str, float]:
    """Milliseconds of processor time per frame of a small model of keypoints, decoding and tracking included."""
    from det_core import Detector, recipes
    from det_video.frames import Video

    torch.manual_seed(0)
    model = recipes.load("keypoint_rcnn_fbnetv3a_dsmask_c4").build_model()
    detector = Detector(model, ["person"], device="cpu").optimize()
    tracker, counts = ByteTracker(high=0.3), []
    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder) / "film.mp4")
        start = time.process_time()
        for frame in Video(path).frames():
            found = detector(torch.nn.functional.interpolate(frame.image[None], (224, 298))[0], 0.1)
            tracker.update(found.detections)
            counts.append(len(found))
        each = 1000 * (time.process_time() - start) / len(counts)
    return {"ms": each, "frames_per_second": 1000 / each, "persons": statistics.mean(counts)}


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracking", action="store_true", help="without the detector")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"machine": platform.machine(), "torch": torch.__version__, "tracking": tracking()}
    if not options.tracking:
        results |= {"shares": shares(), "tiles": tiles(), "pose": pose()}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
