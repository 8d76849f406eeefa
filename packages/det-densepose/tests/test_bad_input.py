"""Wrong input is refused with the place, what was found there, and what to do."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.errors import DetError
from det_core.recipes import Factory
from det_densepose.bodies.body import FIGURE
from det_densepose.bodies.published import BodyFolder
from det_densepose.bodies.symmetry import require_involution
from det_densepose.cli.common import read_atlas
from det_densepose.data import DensePoseDataset
from det_densepose.models import VertexDirectEmbedder
from det_densepose.models.embedder import Embedder
from det_densepose.results.access import persons
from det_densepose.structures import PREFIX, MeshEmbeddings
from PIL import Image

POINT: dict[str, Any] = {"dp_x": [0, 128], "dp_y": [64, 256], "dp_I": [2, 24], "dp_U": [0, 0.5], "dp_V": [1, 0.25]}
Case = Callable[[Path], Any]


def dataset(folder: Path, *annotations: dict[str, Any], **arguments: Any) -> DensePoseDataset:
    Image.new("RGB", (100, 80)).save(folder / "1.png")
    common = {"image_id": 1, "category_id": 1, "bbox": [10, 20, 64, 32], "iscrowd": 0, "area": 2048}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 80}],
        "annotations": [{"id": number, **common, **each} for number, each in enumerate(annotations, 7)],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return DensePoseDataset(folder, folder / "a.json", body=FIGURE, **arguments)


def annotated(**change: Any) -> Case:
    return lambda folder: dataset(folder, {**POINT, **change})


def rle(side: int) -> dict[str, Any]:
    return {"size": [side, side], "counts": [0, side * side]}


def body_file(folder: Path, **arrays: Any) -> BodyFolder:
    np.savez(folder / "cat.npz", vertices=np.zeros((3, 3)), **arrays)
    return BodyFolder(folder)


def geodesics_of(mesh: str) -> Case:
    return lambda folder: BodyFolder(folder).body(mesh).geodesics()  # type: ignore[misc]


def atlas(folder: Path) -> Any:
    Image.new("RGB", (50, 60)).save(folder / "atlas.png")
    return read_atlas(folder / "atlas.png")


def zero_embedder(folder: Path) -> None:
    embedder = Embedder({"cat": Factory(VertexDirectEmbedder, num_vertices=5)}, 4)
    embedder.load_state_dict({"embedder_cat.embeddings": torch.zeros(5, 4)})
    embedder.prepare()


def zero_vertices(folder: Path) -> Any:
    from det_core.structures import Detections

    embedding = MeshEmbeddings.of(torch.ones(1, 4, 8, 8), {"cat": torch.zeros(5, 4)}, ("cat",))
    return persons(
        Detections(
            boxes=torch.tensor([[0.0, 0, 8, 8]]),
            labels=torch.zeros(1, dtype=torch.int64),
            scores=torch.ones(1),
            size=(8, 8),
            extras={f"{PREFIX}embedding": embedding, f"{PREFIX}coarse_segm": torch.ones(1, 2, 8, 8)},
        )
    )


OUTSIDE = "annotation 7 has 1 points outside of its box: 'dp_x' is {}, not within 0 to 256"
SKIP = "correct the file, or set bad_annotations to 'skip'"
CASES: list[tuple[str, Case, tuple[str, ...]]] = [
    ("point right of its box", annotated(dp_x=[0, 300]), ("a.json", OUTSIDE.format(300), SKIP)),
    ("point left of its box", annotated(dp_x=[-1, 5]), ("a.json", OUTSIDE.format(-1), SKIP)),
    ("part 25", annotated(dp_I=[2, 25]), ("the part 25, which is not a whole number from 0 to 24", SKIP)),
    ("part -1", annotated(dp_I=[-1, 2]), ("the part -1, which is not a whole number from 0 to 24", SKIP)),
    ("part of a half", annotated(dp_I=[2, 0.5]), ("the part 0.5, which is not a whole number", SKIP)),
    ("u above 1", annotated(dp_U=[0, 1.5]), ("a value of 'dp_U' out of 0 to 1: 1.5", SKIP)),
    ("v below 0", annotated(dp_V=[-0.1, 0]), ("a value of 'dp_V' out of 0 to 1: -0.1", SKIP)),
    (
        "coarse mask of 128 x 128",
        annotated(dp_masks=[[], rle(128)]),
        ("a mask of coarse part 2 of the size [128, 128], which must be 256 x 256", SKIP),
    ),
    (
        "segmentation of another image",
        lambda folder: dataset(folder, {**POINT, "segmentation": rle(50)}, masks=True),
        ("annotation 7 has an RLE that is not of its image's size [80, 100]", SKIP),
    ),
    (
        "no person with points",
        lambda folder: dataset(folder, {}, {}, keep="points"),
        ("a.json", "no object has points", "it has 2 objects", "keep"),
    ),
    (
        "symmetry of a file that is no involution",
        lambda folder: body_file(folder, symmetry=np.array([1, 2, 0])).body("cat"),
        ("cat.npz", "no involution", "vertex 0 goes to 1, and that to 2", "mirroring twice must change nothing"),
    ),
    (
        "symmetry that is no involution",
        lambda _: require_involution(np.array([0, 2, 0]), 3, "cat"),
        ("cat: the symmetry is no involution", "vertex 1 goes to 2, and that to 0; 2 are so"),
    ),
    (
        "published mesh without its distances",
        geodesics_of("cat_5001"),
        ("geodists_cat_5001.pkl", "cannot be shipped", "https://", "licence:", "into the folder of bodies"),
    ),
    (
        "own mesh without distances",
        lambda folder: body_file(folder).body("cat").distances(),
        ("body cat", "has no geodesic distances", "det densepose mesh make"),
    ),
    ("atlas of another layout", atlas, ("atlas.png", "no texture atlas of 24 parts", "50 x 60", "800 x 1200")),
    (
        "embeddings of zeros in training",
        zero_embedder,
        ("embeddings of mesh 'cat'", "all zero", "weights.skip: [roi_heads.embedder.embedder_cat]"),
    ),
    ("embeddings of zeros in results", zero_vertices, ("mesh 'cat' are all zero", "load weights that hold them")),
]


@pytest.mark.parametrize(("make", "parts"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_is_refused_with_place_and_fix(tmp_path: Path, make: Case, parts: tuple[str, ...]) -> None:
    with pytest.raises(DetError) as error:
        make(tmp_path)
    message = str(error.value)
    assert [part for part in parts if part not in message] == [], message
    assert not re.search(r"[\n\x1b]", message)


def test_all_faults_of_a_file_are_listed_at_once(tmp_path: Path) -> None:
    faulty = [{**POINT, "dp_I": [2, 25]}, {**POINT, "dp_U": [0, 2]}, {**POINT, "dp_masks": [rle(8)]}]
    with pytest.raises(DetError, match=r"3 annotations cannot be used; annotation 7 .*; annotation 8 .*; annotation 9"):
        dataset(tmp_path, *faulty, POINT)
    left = dataset(tmp_path, *faulty, POINT, bad_annotations="skip")
    assert (len(left.skipped), left.num_objects, left.num_surfaces) == (3, 1, 1)


def test_people_without_points_beside_others_are_kept(tmp_path: Path) -> None:
    kept = dataset(tmp_path, {}, POINT, keep="points")
    assert (kept.num_objects, kept.num_surfaces, len(kept)) == (2, 1, 1)
