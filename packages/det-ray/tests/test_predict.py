"""`det ray predict` with a worker in this process: results, resuming, refusals, bad input."""

import errno
import json

import pyarrow.parquet as pq
import pytest
import tiny_detector
from det_core.errors import ConfigError, DetError
from det_ray.folder import RunFolder
from det_ray.results import coco_results, read_rows

pytestmark = pytest.mark.usefixtures("in_process")


def test_each_image_has_a_row_with_its_detections(predict, tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 7)
    code, text, rows = predict(tmp_path / "images", "--block", 3)
    assert code == 0
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert {row["model"] for row in rows} == {rows[0]["model"]}
    assert len(rows[0]["model"]) == 64
    assert json.loads(rows[0]["versions"])["det-ray"]
    assert (rows[0]["width"], rows[0]["height"], rows[0]["error"]) == (24, 16, None)
    assert rows[0]["boxes"] == [[6, 4, 18, 12]]
    assert rows[0]["category_ids"] == [(7, 9)[label] for label in rows[0]["labels"]]
    assert len({row["sha256"] for row in rows}) == 7
    assert "7 images, 7 objects" in text


def test_batches_of_several_sizes_keep_the_order(predict, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, size in enumerate([(24, 16), (8, 30), (24, 16), (50, 9), (8, 30)]):
        (folder / f"{number}.png").write_bytes(tiny_detector.picture(number, size))
    _, _, rows = predict(folder, "--batch", 2)
    assert [(row["width"], row["height"]) for row in rows] == [(24, 16), (8, 30), (24, 16), (50, 9), (8, 30)]
    assert rows[3]["boxes"] == [[12.5, 2.25, 37.5, 6.75]]


def test_second_run_predicts_missing_blocks_only(predict, in_process, tmp_path):
    tiny_detector.write(tmp_path / "images", 6)
    before = predict(tmp_path / "images", "--block", 2)[2]
    RunFolder(tmp_path / "found").block(1).unlink()
    in_process.clear()
    code, text, after = predict(tmp_path / "images", "--block", 2)
    assert (code, in_process) == (0, [1])
    assert "2 of 3 blocks are complete; going on with 1" in text
    assert after == before


def test_complete_run_is_not_predicted_again(predict, in_process, tmp_path):
    tiny_detector.write(tmp_path / "images", 2)
    predict(tmp_path / "images")
    in_process.clear()
    code, text, rows = predict(tmp_path / "images")
    assert (code, in_process, len(rows)) == (0, [], 2)
    assert "nothing is predicted again" in text


@pytest.mark.parametrize(
    ("option", "named"), [(("--threshold", 0.9), "threshold"), (("--batch", 3), "batch"), (("--block", 1), "block")]
)
def test_other_settings_in_the_same_folder_are_refused(predict, tmp_path, option, named):
    tiny_detector.write(tmp_path / "images", 2)
    before = predict(tmp_path / "images")[2]
    code, text, rows = predict(tmp_path / "images", *option)
    assert code == 2
    assert f"{named} was" in text
    assert rows == before


def test_other_model_in_the_same_folder_is_refused(predict, command, tmp_path):
    tiny_detector.write(tmp_path / "images", 2)
    predict(tmp_path / "images")
    other = tiny_detector.save(tmp_path / "other.safetensors", masks=True)
    code, text = command(
        "ray", "predict", tmp_path / "images", "--model", other, "--trust", "--output", tmp_path / "found"
    )
    assert code == 2
    assert "the model was" in text
    assert "choose another folder" in text


def test_bad_images_are_rows_with_reasons(predict, tmp_path):
    folder = tmp_path / "images"
    tiny_detector.write(folder, 2)
    whole = tiny_detector.picture(9, (200, 200))
    (folder / "a-cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b-empty.jpg").write_bytes(b"")
    (folder / "c-text.jpg").write_text("no picture")
    head = b"P6 60000 60000 255\n"
    (folder / "d-huge.ppm").write_bytes(head + bytes(100))
    code, text, rows = predict(folder)
    assert code == 1
    assert "6 images, 4 of them bad" in text
    reasons = {row["path"].rpartition("/")[2]: row["error"] for row in rows if row["error"]}
    assert "cut short" in reasons["a-cut.png"]
    assert "the file is empty" in reasons["b-empty.jpg"]
    assert "is not an image" in reasons["c-text.jpg"]
    assert "so large" in reasons["d-huge.ppm"]
    assert all(row["boxes"] is None for row in rows if row["error"])
    page = (tmp_path / "found" / "index.html").read_text()
    assert "c-text.jpg" in page
    assert "data:image/jpeg;base64" in page
    assert "http" not in page


def test_retry_bad_predicts_their_blocks_again(predict, in_process, tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 4)
    content = paths[3].read_bytes()
    paths[3].write_bytes(b"")
    assert predict(tmp_path / "images", "--block", 2)[0] == 1
    paths[3].write_bytes(content)
    in_process.clear()
    code, _, rows = predict(tmp_path / "images", "--block", 2, "--retry-bad")
    assert (code, in_process) == (0, [1])
    assert [row["error"] for row in rows] == [None] * 4


def test_masks_are_rle_of_the_image_size(command, tmp_path):
    from det_core.evaluation.coco_results import decode_masks

    tiny_detector.write(tmp_path / "images", 1)
    model = tiny_detector.save(tmp_path / "masks.safetensors", masks=True)
    command("ray", "predict", tmp_path / "images", "--model", model, "--trust", "--output", tmp_path / "found")
    row = next(read_rows(tmp_path / "found"))
    (entry,) = coco_results(row, 5)
    mask = decode_masks([entry["segmentation"]], (row["height"], row["width"]))[0]
    assert mask[4:12, 6:18].all()
    assert int(mask.sum()) == 8 * 12
    assert entry["bbox"] == [6, 4, 12, 8]
    assert entry["image_id"] == 5


def test_model_that_fails_at_every_image_ends_the_run(command, tmp_path):
    tiny_detector.write(tmp_path / "images", 3)
    model = tiny_detector.save(tmp_path / "fails.safetensors", fails=True)
    code, text = command(
        "ray", "predict", tmp_path / "images", "--model", model, "--trust", "--output", tmp_path / "found"
    )
    assert code == 2
    assert "fails at every image" in text
    assert "no image fits" in text
    assert not RunFolder(tmp_path / "found").done()


def test_full_disk_ends_the_run_which_resumes(predict, monkeypatch, tmp_path):
    from det_ray import folder as module

    tiny_detector.write(tmp_path / "images", 6)
    written, write = [], pq.write_table

    def full(table, file, **options):
        if "blocks" in str(file.name):
            written.append(file.name)
            if len(written) == 2:
                file.write(b"PAR1")
                raise OSError(errno.ENOSPC, "No space left on device", file.name)
        write(table, file, **options)

    monkeypatch.setattr(module.pq, "write_table", full)
    code, text, _ = predict(tmp_path / "images", "--block", 2)
    assert code == 2
    assert "No space left on device" in text
    assert "1 blocks are complete" in text
    assert not list((tmp_path / "found").rglob("*.part"))
    code, text, rows = predict(tmp_path / "images", "--block", 2)
    assert code == 0
    assert "going on with 2" in text
    assert len({row["path"] for row in rows}) == len(rows) == 6


def test_image_at_which_workers_die_is_left_out(predict, tmp_path):
    tiny_detector.write(tmp_path / "images", 4)
    journals = tmp_path / "found" / "journals"
    predict(tmp_path / "images")
    RunFolder(tmp_path / "found").block(0).unlink()
    (journals / "00000000.txt").write_text("\n\n\n\n0\n1\n2\n\n\n0\n1\n2\n")
    code, _, rows = predict(tmp_path / "images")
    assert code == 1
    assert [row["error"] for row in rows] == [None, None, "workers died at this image", None]
    assert not list(journals.iterdir())


def test_untrusted_model_is_refused_without_output(command, model, tmp_path):
    tiny_detector.write(tmp_path / "images", 1)
    code, text = command("ray", "predict", tmp_path / "images", "--model", model, "--output", tmp_path / "found")
    assert code == 2
    assert "names what is on no list of an installed plugin" in text
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize("name", ["no_such_recipe", "missing.safetensors"])
def test_unknown_model_is_refused(command, tmp_path, name):
    tiny_detector.write(tmp_path / "images", 1)
    code, text = command("ray", "predict", tmp_path / "images", "--model", name, "--output", tmp_path / "found")
    assert code == 2
    assert name in text


def test_output_in_the_source_is_refused(predict, tmp_path):
    tiny_detector.write(tmp_path / "images", 1)
    code, text, _ = predict(tmp_path / "images", output=tmp_path / "images" / "found")
    assert code == 2
    assert "lies in the source" in text


def test_output_with_other_files_is_refused(predict, tmp_path):
    tiny_detector.write(tmp_path / "images", 1)
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "thesis.doc").write_text("mine")
    code, text, _ = predict(tmp_path / "images")
    assert code == 2
    assert "holds other files" in text


def test_two_runs_in_one_folder_are_refused(tmp_path):
    folder = RunFolder(tmp_path / "found")
    with folder.locked(), pytest.raises(ConfigError, match="written by another run"), folder.locked():
        pass


def test_damaged_block_is_named(command, model, tmp_path):
    tiny_detector.write(tmp_path / "images", 2)
    arguments = ("ray", "predict", tmp_path / "images", "--model", model, "--trust", "--output", tmp_path / "found")
    command(*arguments)
    RunFolder(tmp_path / "found").block(0).write_bytes(b"PAR1 no")
    code, text = command(*arguments)
    assert code == 2
    assert "00000000.parquet" in text
    assert "remove this file" in text


def test_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DetError, match="holds no results"):
        next(read_rows(tmp_path))


def test_det_predict_saves_the_same_rows(predict, command, model, tmp_path):
    tiny_detector.write(tmp_path / "images", 3)
    rows = predict(tmp_path / "images")[2]
    arguments = ("--model", model, "--trust", "--save", "parquet", "--output", tmp_path / "plain", "--device", "cpu")
    code, text = command("predict", tmp_path / "images", *arguments)
    assert code == 0, text
    plain = list(read_rows(tmp_path / "plain" / "results.parquet"))
    assert [{**row, "model": ""} for row in rows] == plain


def test_output_that_is_a_file_is_refused(command, model, tmp_path):
    tiny_detector.write(tmp_path / "images", 1)
    (tmp_path / "found").write_text("")
    code, text = command(
        "ray", "predict", tmp_path / "images", "--model", model, "--trust", "--output", tmp_path / "found"
    )
    assert code == 2
    assert "found" in text


def test_images_are_read_no_further_than_allowed(monkeypatch, tmp_path):
    from det_ray import reading
    from det_ray.journal import Journal

    paths = tiny_detector.write(tmp_path / "images", 40)
    begun, read = [], reading.read_bytes
    monkeypatch.setattr(reading, "read_bytes", lambda name: begun.append(name) or read(name))
    entries = [reading.Entry(str(path)) for path in paths]
    found = reading.pictures(entries, None, 2, 5, Journal(tmp_path / "journal"))
    for taken, picture in enumerate(found, 1):
        assert picture.name == str(paths[taken - 1])
        assert len(begun) <= taken + 5
    assert len(begun) == 40
