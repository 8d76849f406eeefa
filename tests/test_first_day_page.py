"""The commands of docs/first_day.md, one after the other in an empty folder with twelve photographs from LabelImg."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "examples" / "blood-cells"
PAGE = (ROOT / "docs" / "first_day.md").read_text(encoding="utf-8")
FEW = " --set train.steps=2 --set data.workers=0"


def labelimg(folder):
    """Twelve photographs with the XML files of their red blood cells."""
    folder.mkdir()
    content = json.loads((CELLS / "instances_test.json").read_text())
    red = next(each["id"] for each in content["categories"] if each["name"] == "RBC")
    for image in content["images"][:12]:
        shutil.copy(CELLS / "images" / image["file_name"], folder)
        boxes = [e["bbox"] for e in content["annotations"] if (e["image_id"], e["category_id"]) == (image["id"], red)]
        objects = "".join(
            f"<object><name>RBC</name><bndbox><xmin>{x + 1:g}</xmin><ymin>{y + 1:g}</ymin>"
            f"<xmax>{x + w:g}</xmax><ymax>{y + h:g}</ymax></bndbox></object>"
            for x, y, w, h in boxes
        )
        size = "<size><width>640</width><height>480</height><depth>3</depth></size>"
        (folder / image["file_name"]).with_suffix(".xml").write_text(f"<annotation>{size}{objects}</annotation>")


def test_first_day_table_has_the_measured_figures():
    sets = json.loads((ROOT / "benchmarks" / "results" / "first_day.json").read_text())["sets"]
    measured = PAGE.partition("## Measured")[2]
    rows = {
        row.group(1): row.group(2) for row in re.finditer(r"^\| (.+?) \(\d+ for validation\) \|(.*)\|$", measured, re.M)
    }
    assert rows.keys() == sets.keys()
    for name, cells in rows.items():
        figures = [sets[name][who].get(what) for what in ("bbox/AP", "segm/AP") for who in ("det start", "by hand")]
        assert [cell.strip() for cell in cells.split("|")] == [f"{100 * f:.1f}" if f else "" for f in figures]


@pytest.mark.slow
def test_first_day_commands_run_in_an_empty_folder(tmp_path):
    labelimg(tmp_path / "photos")
    shutil.copy(CELLS / "mobilenet_v2-b0353104.pth", tmp_path)
    first = sorted((tmp_path / "photos").glob("*.jpg"))[0].name
    environment = {key: value for key, value in os.environ.items() if key != "DET_DATA"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment |= {"PATH": path, "DET_OFFLINE": "1", "DET_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    commands = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(commands) >= 8
    for command in commands:
        if command.startswith("pip "):
            continue  # the wheels are installed here already
        command = command.replace("BloodImage_00000.jpg", first)
        command += FEW if command.startswith("det train") else ""
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "found").is_dir()
    assert (tmp_path / "runs" / "photos" / "best.safetensors").is_file()
    assert (tmp_path / "splits" / "instances_test.json").is_file()
