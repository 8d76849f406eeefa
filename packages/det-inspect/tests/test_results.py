"""Results in files: the figures of pycocotools to the last digit, and a sentence for each file that cannot be used."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.plugins import catalog
from det_devkit.conformance.perturbed import perturbed
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

COCO_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KEYPOINT_NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def content(seed: int = 0, keypoints: bool = False, text_ids: bool = False) -> dict[str, Any]:
    """Twelve images, one of them empty, objects with outlines and crowds with RLE; categories are not in order."""
    rng = np.random.default_rng(seed)
    images = [
        {"id": number * 7, "height": 200, "width": 240, "file_name": f"{number}.jpg"} for number in range(12, 0, -1)
    ]
    annotations = []
    for image in images[1:]:
        for _ in range(int(rng.integers(1, 7))):
            x, y, w, h = (rng.random(4) * (120, 90, 110, 100) + (0, 0, 6, 6)).tolist()
            crowd = int(rng.random() < 0.15)
            ring = [x, y, x + w, y, x + w, y + h, x, y + h / 2]
            own: dict[str, Any] = {"id": len(annotations) + 1, "image_id": image["id"], "iscrowd": crowd}
            own |= {"category_id": int(rng.choice([3, 8, 5])), "bbox": [x, y, w, h], "area": 0.75 * w * h}
            own["segmentation"] = {"size": [200, 240], "counts": [5000, 9000, 34000]} if crowd else [ring]
            if keypoints:
                points = rng.random((17, 3)) * (w, h, 3) + (x, y, 0)
                points[:, 2] //= 1
                own |= {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
            annotations.append(own)
    categories = [{"id": 8, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 5, "name": "horse"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., Any]:
    """Writes both files, or texts in their place, and runs the command on them."""

    def run(truth: Any, results: Any, *options: str) -> Any:
        for name, value in (("truth.json", truth), ("found.json", results)):
            (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
        files = ["--predictions", str(tmp_path / "found.json"), "--annotations", str(tmp_path / "truth.json")]
        return CliRunner().invoke(det, ["eval", *files, *options])

    return run


def figures(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = json.loads(result.stdout)
    return made


def by_pycocotools(truth: dict[str, Any], results: list[dict[str, Any]], iou_type: str, folder: Path) -> list[float]:
    (folder / "t.json").write_text(json.dumps(truth))
    (folder / "r.json").write_text(json.dumps(results))
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "t.json"))
        judge = COCOeval(coco, coco.loadRes(str(folder / "r.json")), iou_type)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(value) for value in judge.stats]


@pytest.mark.parametrize("left_out", [(), ("bbox",), ("segmentation",)], ids=["all", "without bbox", "without masks"])
def test_figures_are_those_of_pycocotools(evaluated, tmp_path: Path, left_out: tuple[str, ...]) -> None:
    truth = content()
    results = [{k: v for k, v in each.items() if k not in left_out} for each in perturbed(truth, levels=7)]
    made = figures(evaluated(truth, results, "--json"))
    compared = [
        each for each in ("bbox", "segm") if each not in left_out and (each, left_out) != ("segm", ("segmentation",))
    ]
    assert [key for key in made if key in ("bbox", "segm", "keypoints")] == compared
    for iou_type in compared:
        reference = by_pycocotools(truth, results, iou_type, tmp_path)
        assert 0 < reference[0] < 1
        ours = [made[iou_type][name] for name in COCO_NAMES]
        assert [-1.0 if value is None else value for value in ours] == reference


@pytest.mark.parametrize("left_out", [(), ("bbox", "segmentation")], ids=["all", "keypoints alone"])
def test_figures_of_keypoints_are_those_of_pycocotools(evaluated, tmp_path: Path, left_out: tuple[str, ...]) -> None:
    truth = content(1, keypoints=True)
    results = [{k: v for k, v in each.items() if k not in left_out} for each in perturbed(truth)]
    made = figures(evaluated(truth, results, "--json"))
    reference = by_pycocotools(truth, results, "keypoints", tmp_path)
    assert 0 < reference[0] < 1
    ours = [made["keypoints"][name] for name in KEYPOINT_NAMES]
    assert [-1.0 if value is None else value for value in ours] == reference
    assert ("bbox" in made) == (not left_out)


def test_results_undefined_metric_is_null_with_note(evaluated) -> None:
    truth = content()
    truth["annotations"] = [
        {**each, "area": 1e5, "iscrowd": 0} for each in truth["annotations"] if each["category_id"] != 5
    ]
    made = figures(evaluated(truth, perturbed(truth), "--json"))
    assert made["bbox"]["APs"] is None
    assert made["bbox"]["AP/horse"] is None
    assert "no bbox/APs: the ground truth has no object of less than 32 x 32 pixels" in made["notes"]
    assert "no bbox/AP/horse: the ground truth has no object of class 'horse'" in made["notes"]


def test_no_result_at_all_scores_zero(evaluated) -> None:
    made = figures(evaluated(content(), [], "--json"))
    assert made["bbox"]["AP"] == made["segm"]["AR100"] == 0.0


def test_results_string_ids_and_missing_derived_fields_are_accepted(evaluated) -> None:
    truth = content()
    results = perturbed(truth)
    plain = figures(evaluated(truth, results, "--json"))
    for each in (*truth["annotations"], *results):
        each["image_id"] = f"{each['image_id']:03}"
    for each in truth["images"]:
        each["id"] = f"{each['id']:03}"
    assert figures(evaluated(truth, results, "--json")) == plain
    for each in truth["annotations"]:
        each["area"] = each["bbox"][2] * each["bbox"][3]
    plain = figures(evaluated(truth, results, "--json"))
    for each in truth["annotations"]:
        del each["area"]
    assert figures(evaluated(truth, results, "--json"))["bbox"] == plain["bbox"]


def test_truth_without_boxes_is_compared_by_its_masks(evaluated) -> None:
    truth = content()
    results = perturbed(truth)
    wanted = figures(evaluated(truth, results, "--json"))
    for annotation in truth["annotations"]:
        annotation |= {"area": None, "iscrowd": float(annotation.get("iscrowd", 0))}
        del annotation["bbox"]
    found = figures(evaluated(truth, results, "--json"))
    # Without areas, sizes are those of the boxes, so objects may be of another size.
    for key in ("AP", "AP50", "AP75", "AR100"):
        assert found["segm"][key] == wanted["segm"][key]
        assert found["bbox"][key] is not None


def test_results_annotation_id_0_counts_with_note(evaluated) -> None:
    truth = content()
    results = perturbed(truth)
    plain = figures(evaluated(truth, results, "--json"))
    truth["annotations"][0]["id"] = 0
    made = figures(evaluated(truth, results, "--json"))
    assert made["bbox"] == plain["bbox"]
    assert any("has the id 0" in note for note in made["notes"])


def test_results_table_is_printed_without_json(evaluated) -> None:
    result = evaluated(content(), perturbed(content()))
    assert result.exit_code == 0, result.output
    assert "12 images" in result.stdout
    assert "AP/horse" in result.stdout


def test_results_command_does_not_import_torch(tmp_path: Path) -> None:
    truth = content()
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(perturbed(truth)))
    code = (
        "import sys; from click.testing import CliRunner; from det_core.cli.main import det\n"
        "result = CliRunner().invoke(det, ['eval', '--predictions', 'found.json', '--annotations', 'truth.json'])\n"
        "print(result.exit_code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["0", "False"], done.stderr


def changed(part: str, **values: Any) -> Callable[[dict[str, Any], list[dict[str, Any]]], None]:
    """Changes the first record of "results" or of a list of the truth; a value of ... takes the key away."""

    def change(truth: dict[str, Any], results: list[dict[str, Any]]) -> None:
        record = results[0] if part == "results" else truth[part][0]
        for key, value in values.items():
            record.pop(key) if value is ... else record.update({key: value})

    return change


HUGE = 10**400
DEFECTS = {
    "results number 1 is of image 999, which the annotations do not list": changed("results", image_id=999),
    "result number 1 has no 'image_id'": changed("results", image_id=...),
    "has the category_id 'cat', which is not a whole number": changed("results", category_id="cat"),
    "has the score nan, which is not a finite number": changed("results", score=float("nan")),
    "has the score None, which is not a finite number": changed("results", score=...),
    "has the bbox [1, 2, 3], which is not four finite numbers": changed("results", bbox=[1, 2, 3]),
    "has the bbox [1, 2, inf, 3]": changed("results", bbox=[1, 2, float("inf"), 3]),
    "which is not four finite numbers": changed("results", bbox=[1, 2, HUGE, 3]),
    "result number 1 has no 'segmentation', which others have": changed("results", segmentation=...),
    "has an RLE of 3 pixels in an image of 48000": changed("results", segmentation={"size": [200, 240], "counts": [3]}),
    "has an RLE that is not of its image's size": changed("results", segmentation={"size": [9, 9], "counts": [81]}),
    "has a polygon far outside its image": changed("results", segmentation=[[0, 0, 1e9, 0, 5, 5]]),
    "has a polygon that is not at least three pairs": changed("results", segmentation=[[0, 0, 1]]),
    "annotation 1 is of image 999": changed("annotations", image_id=999),
    "annotation 1 is of category 99, which is not listed": changed("annotations", category_id=99),
    "annotation 1 has the area -3": changed("annotations", area=-3),
    "annotation 1 has iscrowd 'yes', not 0 or 1": changed("annotations", iscrowd="yes"),
    "annotation 1 has no 'bbox'": changed("annotations", bbox=..., segmentation=...),
    "annotation 2 has an id that another one has too": changed("annotations", id=2),
    "image 77 has an id that another one has too": changed("images", id=77),
    "image 84 has no size, which masks need; the height 0": changed("images", height=0),
    "image number 1 has no 'id'": changed("images", id=...),
    "which is not a whole number": changed("categories", id="eight"),
    "which is not a whole number of 64 bits": changed("annotations", category_id=2**63),
    "has a name that is not a text": changed("categories", name=8),
}


@pytest.mark.parametrize("message", DEFECTS)
def test_results_invalid_entry_is_reported_by_id(evaluated, message: str) -> None:
    truth = content()
    results = perturbed(truth)
    DEFECTS[message](truth, results)
    result = evaluated(truth, results, "--json")
    assert result.exit_code == 2
    assert message.removeprefix("results ") in " ".join(result.output.split())
    assert ".json: " in result.output
    assert "Traceback" not in result.output


def test_many_faults_are_counted_and_the_first_are_named(evaluated) -> None:
    truth = content()
    results = [{**each, "score": None} for each in perturbed(truth)]
    output = evaluated(truth, results).output
    assert f"{len(results)} of {len(results)} cannot be used; result number 1 has the score None" in output
    assert f"and {len(results) - 5} more; correct the file" in output


@pytest.mark.parametrize(
    ("truth", "results", "message"),
    [
        ({"a": 1}, [], "is not a COCO annotation file; it has no 'images'"),
        ([1], [], "is not a COCO annotation file; it holds a list"),
        ({"images": 3}, [], "'images' is a int"),
        (None, {"annotations": []}, "this is probably an annotation file: are the two files swapped?"),
        (None, {"x": 1}, "is no file of COCO results; it holds a dict; give a list of objects with image_id"),
        (None, [3], "result number 1 is not an object"),
        (None, "[1, 2", "found.json: the file of results is not valid JSON"),
        ("\x00" * 100, [], "truth.json: the annotation file is not valid JSON"),
        (None, "[" * 100_000, "is not valid JSON"),
    ],
)
def test_files_of_another_kind_are_refused(evaluated, truth: Any, results: Any, message: str) -> None:
    result = evaluated(content() if truth is None else truth, results)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_results_keypoints_other_than_coco_are_skipped(evaluated) -> None:
    truth = content(1, keypoints=True)
    results = perturbed(truth)
    for each in (*truth["annotations"], *results):
        each["keypoints"] = each["keypoints"][:15]
    made = figures(evaluated(truth, results, "--json"))
    assert "keypoints" not in made
    assert "no keypoints: objects have 5; the rules for files are those of COCO's 17" in made["notes"]


def test_either_a_model_or_two_files_are_needed() -> None:
    for arguments in (["--predictions", "a.json"], ["run", "--annotations", "a.json"], []):
        result = CliRunner().invoke(det, ["eval", *arguments])
        assert result.exit_code == 2
        assert (
            "needs either a model or two files; give a checkpoint or a recipe, or else --predictions" in result.output
        )


@pytest.fixture
def core_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No other distribution offers anything."""
    others = {plugin.distribution for plugin in catalog().plugins} - {"det-core"}
    monkeypatch.setenv("DET_DISABLE_PLUGINS", ",".join(others))
    catalog(refresh=True)
    yield
    monkeypatch.undo()
    catalog(refresh=True)


@pytest.mark.usefixtures("core_alone")
def test_eval_of_files_without_an_analysis_names_the_package(evaluated) -> None:
    result = evaluated(content(), perturbed(content()))
    assert result.exit_code == 2
    output = " ".join(result.output.split())
    assert "--predictions: there is no command named 'eval --predictions'; not in use: det-" in output
    assert "det-inspect 0.2.0 (switched off by" in output
