"""What `det eval` adds to metrics where det-inspect is installed."""

import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.recipes import recipe_from_tree
from det_core.structures import Detections, Prediction, Sample
from det_devkit.conformance.perturbed import perturbed
from det_inspect.results.results_file import ResultsFile
from safetensors.torch import save_file
from squares import Colors

TREE = {
    "model": {"type": "squares:Colors", "reverse": True},
    "data": {"test": {"type": "squares:Squares"}, "workers": 0},
}


@pytest.fixture
def arguments(tmp_path):
    recipe_from_tree(TREE, "squares").save(tmp_path / "squares.yaml")
    save_file(Colors().state_dict(), tmp_path / "w.safetensors")
    return ["eval", str(tmp_path / "squares.yaml"), "--weights", str(tmp_path / "w.safetensors"), "--device", "cpu"]


def run(*arguments):
    result = CliRunner().invoke(det, list(arguments))
    assert result.exit_code == 0, result.output
    return result


def test_eval_explains_reports_losses_and_writes_a_page(arguments, tmp_path):
    files = ["--report", str(tmp_path / "report"), "--save-predictions", str(tmp_path / "found.json")]
    made = json.loads(run(*arguments, "--json", "--loss", *files).stdout)
    assert set(made["errors"]) == {"classification", "localisation", "both", "duplicate", "background", "missed"}
    assert isinstance(made["issues"], list)
    assert made["metrics"]["loss"] == pytest.approx(0.5)
    assert not [name for name in made["metrics"] if name.startswith("analysis")]
    assert "Precision and recall" in (tmp_path / "report" / "index.html").read_text()
    results = json.loads((tmp_path / "found.json").read_text())
    assert len(results) == 2 * 5
    assert {each["category_id"] for each in results} <= {10, 20}
    assert "costs of errors" in run(*arguments).output


def test_results_file_merged_states_equal_one_process(tmp_path):
    def updated(name, *ids):
        evaluator = ResultsFile(("a", "b"), tmp_path / name, (10, 20))
        for number in ids:
            found = Detections(
                boxes=torch.tensor([[1.0, 2, 3, 4 + number]]),
                labels=torch.tensor([1]),
                scores=torch.tensor([0.5]),
                size=(8, 8),
            )
            sample = Sample(image=torch.zeros(3, 8, 8, dtype=torch.uint8), id=number)
            evaluator.update(Prediction(detections=found), sample)
        return evaluator

    parts = [updated("merged.json", 1, 3), updated("other.json", 2)]
    parts[0].merge([part.state() for part in parts])
    assert parts[0].result() == updated("alone.json", 1, 3, 2).result() == {}
    assert (tmp_path / "merged.json").read_text() == (tmp_path / "alone.json").read_text()
    assert [each["category_id"] for each in json.loads((tmp_path / "merged.json").read_text())] == [20, 20, 20]


def test_eval_checks_channels_only_if_asked(arguments):
    plain = json.loads(run(*arguments, "--json").stdout)
    assert "channels in reverse" not in {each["kind"] for each in plain["issues"]}
    asked = json.loads(run(*arguments, "--json", "--analysis", "channels=true").stdout)
    assert "channels in reverse" in {each["kind"] for each in asked["issues"]}
    assert asked["metrics"] == plain["metrics"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("chanels=true", "--analysis.chanels: Analysis has no argument 'chanels'; did you mean 'channels'"),
        ("channels=3", "--analysis.channels: must be true or false; got 3"),
        ("channels", "--analysis 'channels': is not an option of an analysis; one reads 'channels=true'"),
    ],
)
def test_eval_option_that_the_analysis_has_not_is_refused(arguments, option, message):
    result = CliRunner().invoke(det, [*arguments, "--analysis", option])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def files(tmp_path, form=None):
    boxes = [[2 + 3 * i, 3, 10, 5 + i] for i in range(8)]
    images = [{"id": 1 + i, "file_name": f"{i}.png", "width": 60, "height": 50} for i in range(8)]
    annotations = [
        {"id": 1 + i, "image_id": 1 + i, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, box in enumerate(boxes)
    ]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    results = perturbed(truth)
    for each in results if form else ():
        x, y, w, h = each["bbox"]
        each["bbox"] = [x, y, x + w, y + h]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(results))
    return ["--annotations", str(tmp_path / "truth.json"), "--predictions", str(tmp_path / "found.json")]


def test_eval_of_files_explains_and_writes_a_page(tmp_path):
    made = json.loads(run("eval", *files(tmp_path), "--json").stdout)
    assert made["issues"] == []
    assert set(made["errors"]["missed"]) == {"count", "costs"}
    output = run("eval", *files(tmp_path), "--report", str(tmp_path / "report")).output
    assert "costs of errors" in output
    assert (tmp_path / "report" / "index.html").exists()


def test_eval_of_files_has_no_options_of_an_analysis(tmp_path):
    result = CliRunner().invoke(det, ["eval", *files(tmp_path), "--analysis", "channels=true"])
    assert result.exit_code == 2
    assert "--analysis: has no options for results in a file" in result.output


def test_eval_of_files_with_the_analysis_imports_no_torch(tmp_path):
    code = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'det'; from det_core.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "eval", *files(tmp_path), "--report", str(tmp_path / "report")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "costs of errors" in result.stdout
