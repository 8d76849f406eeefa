"""Generated variants of sound files: each is read, or refused with one of our errors, soon and in little memory."""

import copy
import json
import resource
import tempfile
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import small_benchmarks
from det_core.data import CocoDataset
from det_core.errors import DetError
from det_datasets.readers import VocDataset, YoloDataset
from det_devkit import coco_files
from det_inspect.datasets.check import check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_MEGABYTES = 500
VARIANTS = settings(
    max_examples=1000,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**400, 1e308, -1e308, float("nan"), float("inf"), 5e-324, -0.0]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["", "../x", "/etc/passwd", "a" * 5000, "\0", "\ud800", "é\u2028", "COM1", "-", "1e5", "NaN"]),
    st.lists(st.integers(-5, 5) | st.floats() | st.none(), max_size=9),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within a value of JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in list(entries):
        yield value, key
        yield from places(own)


@st.composite
def changed(draw: Any, sound: Any) -> Any:
    """A value of JSON with one to four of its parts replaced, taken out or there twice."""
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 4))):
        container, key = draw(st.sampled_from(list(places(value)) or [([0], 0)]))
        how = draw(st.sampled_from(["replace", "drop", "repeat"]))
        if how == "replace":
            container[key] = draw(ODD)
        elif how == "drop":
            container.pop(key)
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
    return value


@st.composite
def damaged(draw: Any, sound: bytes) -> bytes:
    """A file with a few of its bytes replaced, or cut short, or with text put in."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        how = draw(st.sampled_from(["byte", "cut", "insert"]))
        if how == "byte" and content:
            content[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del content[place : place + draw(st.integers(1, 40))]
        else:
            content[place:place] = draw(st.text(max_size=8)).encode("utf-8", "surrogatepass")
    return bytes(content)


def holds(make: Callable[[], Any], listing: Callable[[], Any]) -> None:
    """Read everything; only our errors may come of it, and no more memory than the limit."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = make()
            for index in range(len(dataset)):
                dataset[index], dataset.labels_of(index), dataset.size_of(index)
        except DetError as error:
            assert len(str(error)) < 20_000  # noqa: PT017 (the error is expected, its length is what is tested)
        json.dumps(check({"train": listing}, pixels=False).to_json())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < _MEGABYTES * 1024


def sound_coco() -> dict[str, Any]:
    content = coco_files.content(3)
    content["categories"][0]["keypoints"] = ["a", "b"]
    for each in content["annotations"]:
        each |= {"segmentation": [[4, 3, 12, 3, 4, 9]], "keypoints": [5, 5, 2, 6, 6, 1]}
    content["annotations"][2] |= {"segmentation": {"size": [30, 40], "counts": [100, 50, 1050]}}
    return content


@pytest.mark.slow
@pytest.mark.timeout(1800)
@VARIANTS
@given(
    content=changed(sound_coco()),
    masks=st.sampled_from([False, "bitmaps", "polygons"]),
    keypoints=st.booleans(),
    rotated=st.booleans(),
    bad=st.sampled_from(["stop", "skip"]),
)
def test_coco_variants_are_read_or_refused(content: Any, masks: Any, keypoints: bool, rotated: bool, bad: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images, file = coco_files.write(Path(folder), sound_coco())
        file.write_text(json.dumps(content))
        options = {"masks": masks, "keypoints": keypoints, "rotated": rotated, "bad_annotations": bad}
        holds(lambda: CocoDataset(images, file, **options), lambda: CocoDataset.listing(images, file))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@VARIANTS
@given(raw=damaged(json.dumps(sound_coco()).encode()), bad=st.sampled_from(["stop", "skip"]))
def test_coco_damaged_files_are_read_or_refused(raw: bytes, bad: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images, file = coco_files.write(Path(folder), sound_coco())
        file.write_bytes(raw)
        holds(lambda: CocoDataset(images, file, bad_annotations=bad), lambda: CocoDataset.listing(images, file))


_XML = (
    b"<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>"
    b"<object><name>dog</name><difficult>1</difficult><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax>"
    b"<ymax>18</ymax></bndbox></object></annotation>"
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@VARIANTS
@given(xml=damaged(_XML), names=damaged(b"a\na  1\n"), bad=st.sampled_from(["stop", "skip"]))
def test_voc_variants_are_read_or_refused(xml: bytes, names: bytes, bad: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = small_benchmarks.voc(Path(folder) / "voc")
        (Path(folder) / "voc/Annotations/a.xml").write_bytes(xml)
        (Path(folder) / "voc/ImageSets/Main/train.txt").write_bytes(names)
        holds(lambda: VocDataset(**arguments, bad_annotations=bad), lambda: VocDataset.listing(**arguments))


_LINES = b"0 0.5 0.5 0.25 0.2\n1 0.1 0.1 0.6 0.1 0.1 0.6\n"
_ABOUT = b"names: {0: cell, 1: platelet}\nkpt_shape: [1, 3]\nflip_idx: [0]\ntask: pose\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@VARIANTS
@given(
    lines=damaged(_LINES),
    about=damaged(_ABOUT) | st.just(b"names: [cell, platelet]"),
    masks=st.sampled_from([False, "bitmaps", "polygons"]),
    keypoints=st.booleans(),
    bad=st.sampled_from(["stop", "skip"]),
)
def test_yolo_variants_are_read_or_refused(lines: bytes, about: bytes, masks: Any, keypoints: bool, bad: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "yolo"
        root.mkdir()
        arguments = {**small_benchmarks.yolo(root), "classes": root / "data.yaml"}
        (root / "labels/a.txt").write_bytes(lines)
        (root / "data.yaml").write_bytes(about)
        options = {"masks": masks, "keypoints": keypoints, "bad_annotations": bad}
        holds(lambda: YoloDataset(**arguments, **options), lambda: YoloDataset.listing(**arguments))
