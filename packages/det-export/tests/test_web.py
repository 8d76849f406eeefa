"""`examples/deploy/web`: exported files in a chromium of the machine, without a server that computes."""

import base64
import functools
import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from chromium import CHROMIUM, opened_page
from det_core.predict import Detector
from det_core.structures import ImageBatch
from det_export.formats.onnx import OnnxExporter
from det_export.numpy_postprocess import keypoints, masks
from det_export.preprocess import prepare
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api")

EXAMPLES = Path(__file__).parents[3] / "examples"
CELLS = EXAMPLES / "blood-cells"
RECIPE = "data:\n  eval_transforms:\n  - {type: 'det_core.data:ResizeShortestEdge', size: 192, max_size: 320}\n"
HEATMAPS = "detections.det-core/keypoint_heatmaps"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and shutil.which("npm")), reason="there is no chromium, or no npm"),
]


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line per request."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the page with onnxruntime-web, and its address."""
    folder = tmp_path_factory.mktemp("site") / "web"
    shutil.copytree(EXAMPLES / "deploy" / "web", folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    handler = functools.partial(Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@pytest.fixture(scope="module")
def cells(site):
    """The detector of the examples as a file that resizes, beside the page."""
    detector = Detector.load(CELLS / "detector.safetensors", device="cpu")
    return detector.export("onnx", site[0] / "cells.onnx", (416, 544), resize=None)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """What the camera of the browser shows: a picture of cells, as raw video."""
    path = tmp_path_factory.mktemp("camera") / "cells.y4m"
    with Image.open(CELLS / "images" / "BloodImage_00007.jpg") as picture:
        planes = picture.convert("YCbCr").split()
        halved = [each.resize((picture.width // 2, picture.height // 2)) for each in planes[1:]]
        head = f"YUV4MPEG2 W{picture.width} H{picture.height} F5:1 Ip A1:1 C420jpeg\n".encode()
    frame = b"FRAME\n" + b"".join(each.tobytes() for each in (planes[0], *halved))
    path.write_bytes(head + 5 * frame)
    return path


@pytest.fixture
def page(camera):
    options = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with opened_page(*options, f"--use-file-for-fake-video-capture={camera}") as opened:
        yield opened


def picture_of(size, folder):
    """A picture of cells as a PNG, which every program decodes to the same pixels; `size` is (width, height)."""
    with Image.open(CELLS / "images" / "BloodImage_00007.jpg") as picture:
        picture.convert("RGB").resize(size).save(folder / "picture.png")
    return folder / "picture.png"


def predicted(page, url, file, picture, threshold=0.5):
    """What the page draws: objects, the best last, as it has them."""
    page.goto(f"{url}?model={file.name}")
    playwright.expect(page.locator("#status")).to_contain_text("classes", timeout=60_000)
    page.fill("#threshold", str(threshold))
    page.set_input_files("#file", picture)
    playwright.expect(page.locator("#status")).to_contain_text("ms", timeout=60_000)
    return objects_of(page)


def objects_of(page):
    """Objects of the last picture."""
    script = """async () => JSON.stringify((await import('./page.js')).state.answer.objects,
        (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value)"""
    return json.loads(page.evaluate(script))


def outputs_of(file, picture):
    """Outputs of the file in onnxruntime, boxes in the picture."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.open(picture))
    names = [each.name for each in session.get_outputs()]
    if [each.name for each in session.get_inputs()] == ["image"]:
        return dict(zip(names, session.run(None, {"image": pixels}), strict=True))
    rule = json.loads(session.get_modelmeta().custom_metadata_map["det"])["resize"]
    planes, sizes, factors = prepare(pixels, rule)
    outputs = dict(zip(names, session.run(None, {"pixels": planes, "sizes": sizes}), strict=True))
    return outputs | {"boxes": (outputs["boxes"] * factors).astype(np.float32)}


def passing(outputs, threshold):
    """Rows of at least this score, the best last."""
    order = np.argsort(outputs["scores"], kind="stable")
    order = order[outputs["scores"][order] >= threshold]
    rows = len(outputs["scores"])
    return {name: value[order] for name, value in outputs.items() if len(value) == rows}


def narrow(name, path, resize):
    """A narrow model with random weights as a file."""
    import narrow_models

    model = narrow_models.built(name, 1)
    classes = tuple("abc")[: 3 if name.startswith("Mask") else 1]
    exporter = OnnxExporter(resize=resize)
    exporter.about = {"classes": classes, "category_ids": (1, 2, 3)[: len(classes)], "recipe": RECIPE, "licence": ""}
    pixels = torch.zeros(1, 3, *narrow_models.EXAMPLE, dtype=torch.uint8)
    return exporter.export(model, ImageBatch(pixels=pixels, sizes=(narrow_models.EXAMPLE,)), path)


def test_page_draws_boxes_of_picture(page, site, cells, tmp_path):
    picture = picture_of((640, 480), tmp_path)
    objects = predicted(page, site[1], cells, picture)
    expected = passing(outputs_of(cells, picture), 0.5)
    assert len(objects) == len(expected["boxes"]) > 3
    np.testing.assert_allclose([each["box"] for each in objects], expected["boxes"], atol=0.01)
    np.testing.assert_allclose([each["score"] for each in objects], expected["scores"], atol=1e-4)
    assert [each["label"] for each in objects] == expected["labels"].tolist()
    page.screenshot(path=tmp_path / "boxes.png")
    page.fill("#threshold", "0.95")
    playwright.expect(page.locator("#level")).to_have_text("0.95")
    count = len(passing(outputs_of(cells, picture), 0.95)["boxes"])
    page.wait_for_function("n => import('./page.js').then(page => page.state.answer.objects.length === n)", arg=count)


def test_page_follows_camera(page, site, cells, tmp_path):
    page.goto(f"{site[1]}?model=cells.onnx")
    playwright.expect(page.locator("#camera")).to_be_enabled(timeout=60_000)
    page.click("#camera")
    page.wait_for_function("import('./page.js').then(page => page.state.frames >= 3)", timeout=60_000)
    detector = Detector.load(CELLS / "detector.safetensors", device="cpu")
    expected = detector(CELLS / "images" / "BloodImage_00007.jpg", threshold=0.5)
    assert abs(len(objects_of(page)) - len(expected)) <= 2
    page.screenshot(path=tmp_path / "camera.png")
    page.click("#stop")
    playwright.expect(page.locator("#stop")).to_be_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None


RECORD = """async (address) => {
    const picture = await createImageBitmap(await (await fetch(address)).blob());
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
    const recorder = new MediaRecorder(canvas.captureStream(10), { mimeType: "video/webm" }), parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.start();
    for (let i = 0; i < 10; i++) {
        canvas.getContext("2d").drawImage(picture, i, 0, 640, 480);
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return btoa(Array.from(bytes, (each) => String.fromCharCode(each)).join(""));
}"""


def test_page_follows_video_to_its_end(page, site, cells, tmp_path):
    shutil.copy(CELLS / "images" / "BloodImage_00007.jpg", site[0] / "picture.jpg")
    page.goto(f"{site[1]}?model=cells.onnx")
    playwright.expect(page.locator("#file")).to_be_enabled(timeout=60_000)
    (tmp_path / "cells.webm").write_bytes(base64.b64decode(page.evaluate(RECORD, "picture.jpg")))
    page.set_input_files("#file", tmp_path / "cells.webm")
    playwright.expect(page.locator("#status")).to_contain_text("ms", timeout=60_000)
    assert len(objects_of(page)) > 3
    playwright.expect(page.locator("#stop")).to_be_hidden(timeout=60_000)
    playwright.expect(page.locator("#status")).to_contain_text(" s")


def test_page_draws_masks(page, site, tmp_path):
    file, picture = narrow("Mask R-CNN FPN", site[0] / "mask.onnx", True), picture_of((320, 240), tmp_path)
    objects = predicted(page, site[1], file, picture, 0.3)
    expected = passing(outputs_of(file, picture), 0.3)
    assert len(objects) == len(expected["boxes"]) > 3
    for each, mask in zip(objects, masks(expected["masks"], expected["boxes"], (240, 320)), strict=True):
        found, part = np.zeros((240, 320), bool), each["mask"]
        rows, columns = slice(part["top"], part["top"] + part["height"]), part["left"]
        values = np.array(part["values"], bool).reshape(part["height"], part["width"])
        found[rows, columns : columns + part["width"]] = values
        assert (found != mask).sum() <= 0.01 * mask.sum() + 2
    page.screenshot(path=tmp_path / "masks.png")


def test_page_draws_keypoints(page, site, tmp_path):
    file, picture = narrow("Keypoint R-CNN FPN", site[0] / "keypoints.onnx", True), picture_of((320, 240), tmp_path)
    objects = predicted(page, site[1], file, picture, 0.3)
    expected = passing(outputs_of(file, picture), 0.3)
    points = keypoints(expected[HEATMAPS], expected["boxes"])
    found = np.array([each["keypoints"] for each in objects])
    assert found.shape == points.shape
    assert len(points) > 3
    assert (np.abs(found - points) < 0.02).all(2).mean() > 0.95  # two places may score the same
    page.screenshot(path=tmp_path / "keypoints.png")


def test_page_draws_densepose_of_resized_picture(page, site, tmp_path):
    exporting = pytest.importorskip("det_densepose.results.exporting")
    file, picture = narrow("DensePose charts", site[0] / "densepose.onnx", False), picture_of((320, 240), tmp_path)
    objects = predicted(page, site[1], file, picture, 0.3)
    expected = passing(outputs_of(file, picture), 0.3)
    persons = list(exporting.persons_of_outputs(expected))
    assert len(objects) == len(persons) > 0
    for each, person in zip(objects, persons, strict=True):
        part = each["iuv"]
        assert (part["left"], part["top"], part["width"], part["height"]) == person.box
        found = np.array(part["values"]).reshape(part["height"], part["width"], 3)
        near = np.abs(found - person.quantized.transpose(1, 2, 0).astype(int)).max(2) <= 1
        assert near.mean() > 0.98
    page.screenshot(path=tmp_path / "densepose.png")


def test_page_reports_wrong_files(page, site, tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [])
    model = onnx.helper.make_model(graph)
    onnx.save(model, tmp_path / "plain.onnx")
    facts = {"batch_size": 4, "any_batch": False, "inputs": ["pixels", "sizes"], "resizes": False, "resize": {}}
    onnx.helper.set_model_props(model, {"det": json.dumps(facts)})
    onnx.save(model, tmp_path / "batch.onnx")
    (tmp_path / "text.onnx").write_text("no model at all", "utf-8")
    page.goto(site[1])
    status = page.locator("#status.error")
    for name, problems in (
        ("plain.onnx", ["plain.onnx: was not written by `det export --format onnx`"]),
        ("batch.onnx", ["batch.onnx: takes 4 pictures at once", "has no rule of resizing"]),
        ("text.onnx", ["text.onnx: is no ONNX file"]),
    ):
        page.set_input_files("#model", tmp_path / name)
        for problem in problems:
            playwright.expect(status).to_contain_text(problem)
    playwright.expect(page.locator("#file")).to_be_disabled()
    page.goto(f"{site[1]}?model=absent.onnx")
    playwright.expect(status).to_contain_text("absent.onnx: 404")


def test_page_reports_damaged_pictures_and_videos(page, site, cells, tmp_path):
    page.goto(f"{site[1]}?model=cells.onnx")
    playwright.expect(page.locator("#file")).to_be_enabled(timeout=60_000)
    for name in ("a.png", "a.webm"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        page.set_input_files("#file", tmp_path / name)
        playwright.expect(page.locator("#status.error")).to_contain_text(f"{name}: is no")
