import csv

import pytest
from det_core.engine.scalars import Scalars, read_scalars
from det_core.errors import CheckpointError


def read_csv(folder):
    with (folder / "scalars.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_found_again_in_both_files(tmp_path):
    scalars = Scalars(tmp_path)
    scalars.write(20, {"loss": 1.5, "lr": 0.01})
    scalars.write(40, {"loss": 1.25, "lr": 0.02})
    assert read_scalars(tmp_path / "scalars.jsonl") == [
        {"step": 20, "loss": 1.5, "lr": 0.01},
        {"step": 40, "loss": 1.25, "lr": 0.02},
    ]
    assert read_csv(tmp_path) == [
        {"step": "20", "loss": "1.5", "lr": "0.01"},
        {"step": "40", "loss": "1.25", "lr": "0.02"},
    ]


def test_scalars_new_name_adds_column_empty_in_older_rows(tmp_path):
    scalars = Scalars(tmp_path)
    scalars.write(20, {"loss": 1.5})
    scalars.write(20, {"val/bbox/AP": 0.25})
    assert read_csv(tmp_path) == [
        {"step": "20", "loss": "1.5", "val/bbox/AP": ""},
        {"step": "20", "loss": "", "val/bbox/AP": "0.25"},
    ]


def test_continued_run_drops_rows_that_it_will_write_again(tmp_path):
    first = Scalars(tmp_path)
    for step in (10, 20, 30):
        first.write(step, {"loss": float(step)})
    second = Scalars(tmp_path, keep=20)
    second.write(30, {"loss": -1.0})
    assert [row["loss"] for row in read_scalars(tmp_path / "scalars.jsonl")] == [10.0, 20.0, -1.0]
    assert [row["loss"] for row in read_csv(tmp_path)] == ["10.0", "20.0", "-1.0"]


def test_new_run_starts_with_empty_files(tmp_path):
    Scalars(tmp_path).write(10, {"loss": 1.0})
    Scalars(tmp_path)
    assert read_scalars(tmp_path / "scalars.jsonl") == []


def test_last_line_that_crash_cut_off_is_left_out(tmp_path):
    path = tmp_path / "scalars.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_scalars(path) == [{"step": 1, "loss": 2.0}]


def test_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "scalars.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(CheckpointError, match="line 2"):
        read_scalars(path)


def test_folder_without_scalars_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_scalars(tmp_path / "scalars.jsonl")
