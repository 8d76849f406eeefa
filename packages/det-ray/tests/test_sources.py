"""Sources of images: folders, patterns, lists, Parquet and tar files, other file systems, and their faults."""

import io
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_detector
from det_core.errors import ConfigError, DataError
from det_ray.sources import list_source

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def images(tmp_path):
    return tiny_detector.write(tmp_path / "images", 5)


def shard(path, numbers, mode="w", **more):
    """A tar file with images in the layout of WebDataset."""
    with tarfile.open(path, mode) as archive:
        for name, content in [*((f"{n:03d}.png", tiny_detector.picture(n)) for n in numbers), *more.items()]:
            for each, data in ((name, content), (f"{name[:3]}.cls", b"3")):
                about = tarfile.TarInfo(each)
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
    return path


def names(rows):
    return [row["path"].rpartition("/")[2] for row in rows]


def test_pattern_takes_matching_files(predict, images, tmp_path):
    assert names(predict(tmp_path / "images" / "0000[1-3].png")[2]) == ["00001.png", "00002.png", "00003.png"]


def test_folder_is_searched_with_folders_but_hidden_ones(predict, images, tmp_path):
    tiny_detector.write(tmp_path / "images" / "more", 1, 7)
    tiny_detector.write(tmp_path / "images" / ".trash", 1, 8)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    assert names(predict(tmp_path / "images")[2]) == [*(path.name for path in images), "00007.png"]


def test_list_names_paths_from_its_folder(predict, images, tmp_path):
    (tmp_path / "list.txt").write_text(f"# chosen\nimages/00003.png\n\n{images[0]}\nimages/gone.png\n")
    code, _, rows = predict(tmp_path / "list.txt")
    assert code == 1
    assert names(rows) == ["00003.png", "00000.png", "gone.png"]
    assert [row["error"] for row in rows] == [None, None, "there is no such image file"]


@pytest.mark.parametrize("form", ["content", "paths", "struct"])
def test_parquet_holds_content_or_paths(predict, images, tmp_path, form):
    content = [path.read_bytes() for path in images]
    columns = {
        "content": {"image": content},
        "paths": {"path": [str(path) for path in images]},
        "struct": {"image": [{"bytes": each, "path": path.name} for each, path in zip(content, images, strict=True)]},
    }
    pq.write_table(pa.table({"id": range(5), **columns[form]}), tmp_path / "images.parquet", row_group_size=2)
    code, _, rows = predict(tmp_path / "images.parquet", "--block", 3)
    assert code == 0
    assert len({row["sha256"] for row in rows}) == 5
    expected = {
        "content": [f"images.parquet::{n}" for n in range(5)],
        "paths": [path.name for path in images],
        "struct": [f"images.parquet::{n}::{path.name}" for n, path in enumerate(images)],
    }
    assert names(rows) == expected[form]


def test_unreadable_column_of_parquet_is_refused(predict, tmp_path):
    pq.write_table(pa.table({"id": range(3), "note": ["a", "b", "c"], "more": ["", "", ""]}), tmp_path / "t.parquet")
    code, text, _ = predict(tmp_path / "t.parquet")
    assert code == 2
    assert "name it with --column" in text
    assert "id (int64)" in text
    code, text, _ = predict(tmp_path / "t.parquet", "--column", "id")
    assert code == 2
    assert "holds neither content nor paths" in text
    code, text, _ = predict(tmp_path / "t.parquet", "--column", "nota")
    assert code == 2
    assert "note" in text


def test_empty_rows_of_parquet_are_bad_images(predict, images, tmp_path):
    pq.write_table(pa.table({"image": [images[0].read_bytes(), None, b""]}), tmp_path / "t.parquet")
    code, _, rows = predict(tmp_path / "t.parquet")
    assert code == 1
    assert [row["error"] is None for row in rows] == [True, False, False]
    assert rows[1]["error"] == "the row holds no image"


def test_damaged_pages_of_parquet_are_bad_images(predict, images, tmp_path):
    path = tmp_path / "t.parquet"
    content = [each.read_bytes() for each in images[:4]]
    pq.write_table(pa.table({"image": content}), path, row_group_size=2, compression="none", use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 40] = b"\xff" * 40
    path.write_bytes(damaged)
    code, _, rows = predict(path)
    assert code == 1
    assert [row["error"] is None for row in rows] == [True, True, False, False]
    assert "cannot be read" in rows[2]["error"]


def test_file_that_is_no_parquet_is_refused(predict, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    code, text, _ = predict(tmp_path / "t.parquet")
    assert code == 2
    assert "cannot be read as a Parquet file" in text


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_tar_shards_are_read(predict, tmp_path, suffix, mode):
    (tmp_path / "shards").mkdir()
    shard(tmp_path / "shards" / f"a{suffix}", range(3), mode)
    shard(tmp_path / "shards" / f"b{suffix}", range(3, 5), mode)
    code, text, rows = predict(tmp_path / "shards", "--block", 2)
    assert code == 0, text
    assert names(rows) == [f"a{suffix}::{n:03d}.png" for n in range(3)] + [f"b{suffix}::{n:03d}.png" for n in (3, 4)]


@pytest.mark.parametrize("kept", [700, 3000, 5120])
def test_cut_shard_gives_whole_images_and_a_reason(predict, tmp_path, kept):
    path = shard(tmp_path / "a.tar", range(4))
    path.write_bytes(path.read_bytes()[:kept])
    code, _, rows = predict(path)
    assert code == 1
    assert rows[-1]["path"] == str(path)
    assert f"damaged or cut short after {len(rows) - 1} images" in rows[-1]["error"]
    assert all(row["error"] is None for row in rows[:-1])


def test_damaged_header_of_a_shard_is_reported(predict, tmp_path):
    path = shard(tmp_path / "a.tar", range(4))
    content = bytearray(path.read_bytes())
    second = content.index(b"002.png")
    content[second : second + 512] = b"\xfe" * 512
    path.write_bytes(content)
    code, _, rows = predict(path)
    assert code == 1
    assert names(rows) == ["a.tar::000.png", "a.tar::001.png", "a.tar"]
    assert "after 2 images" in rows[-1]["error"]


def test_images_in_a_zip_are_read_by_fsspec(predict, images, tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in images:
            archive.write(path, f"photos/{path.name}")
    plain = predict(tmp_path / "images", output=tmp_path / "plain")[2]
    code, text, rows = predict(f"zip://photos::file://{tmp_path}/images.zip", output=tmp_path / "zipped")
    assert code == 0, text
    assert [row["sha256"] for row in rows] == [row["sha256"] for row in plain]
    assert rows[0]["path"] == f"zip://photos/00000.png::file://{tmp_path}/images.zip"


def test_file_address_is_read(predict, images, tmp_path):
    code, _, rows = predict(f"file://{tmp_path}/images/*.png")
    assert code == 0
    assert names(rows) == [path.name for path in images]


@pytest.mark.parametrize(
    ("make", "source", "text"),
    [
        (lambda path: None, "missing", "there is no such folder or file"),
        (lambda path: (path / "empty").mkdir(), "empty", "holds no image"),
        (lambda path: (path / "no.txt").write_text("\n# nothing\n"), "no.txt", "the list is empty"),
        (lambda path: None, "no*.jpg", "no file is called like this"),
        (lambda path: None, "no.txt", "there is no such list"),
        (lambda path: (path / "a.docx").write_text("x"), "a.docx", "none of the files that hold images"),
        (lambda path: (path / "b.txt").write_bytes(b"\xff\xfe\x00"), "b.txt", "as a list of paths"),
    ],
)
def test_source_without_images_is_refused(predict, tmp_path, make, source, text):
    make(tmp_path)
    code, output, _ = predict(tmp_path / source)
    assert code == 2
    assert text in output


def test_unknown_protocol_is_refused(predict):
    code, text, _ = predict("gopher://photos/a.jpg")
    assert code == 2
    assert "gopher" in text


def test_column_without_parquet_is_refused(images, tmp_path):
    with pytest.raises(ConfigError, match="--column"):
        list_source(str(tmp_path / "images"), "image", 8)


def test_listing_is_the_same_each_time(images, tmp_path):
    first = list_source(str(tmp_path / "images"), None, 2)
    assert first == list_source(str(tmp_path / "images"), None, 2)
    with pytest.raises(DataError):
        list_source(str(tmp_path / "none"), None, 2)
