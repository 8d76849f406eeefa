from pathlib import Path

import av
import films
import numpy as np
import pytest
from det_core.errors import ConfigError, DataError
from det_video.frames import Video
from PIL import Image


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return films.write(tmp_path / "film.mp4")


def red_left(image) -> float:
    """The left edge of the red disc."""
    red = (image[0] > 150) & (image[1] < 100) & (image[2] < 100)
    return float(red.any(0).nonzero().min())


def test_frames_are_those_that_were_written(film: Path):
    frames = list(Video(film).frames())
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([each / 25 for each in range(30)], abs=1e-3)
    for frame in frames:
        assert frame.image.shape == (3, *films.SIZE)
        assert red_left(frame.image) == pytest.approx(films.boxes_at(frame.index)[0, 0], abs=2.5)


def test_video_is_iterated_twice_with_the_same_frames(film: Path):
    video = Video(film)
    first, second = list(video), list(video)
    assert len(first) == 30
    assert all(bool((a == b).all()) for a, b in zip(first, second, strict=True))


def test_every_start_end_choose_frames_by_time(film: Path):
    video = Video(film, every=3, start=0.4, end=0.8)
    frames = list(video.frames())
    assert [round(frame.time, 3) for frame in frames] == [0.4, 0.52, 0.64, 0.76]
    assert [frame.index for frame in frames] == [0, 3, 6, 9]
    assert red_left(frames[1].image) == pytest.approx(films.boxes_at(13)[0, 0], abs=2.5)
    assert video.expected == 4


def test_variable_frame_rate_keeps_timestamps(tmp_path: Path):
    times = [0.0, 0.04, 0.5, 0.52, 1.7, 2.0]
    film = films.write(tmp_path / "film.mkv", 6, times)
    assert [frame.time for frame in Video(film).frames()] == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_of_container_is_applied(tmp_path: Path, film: Path, degrees: int):
    upright = next(iter(Video(film))).permute(1, 2, 0).numpy()
    image = next(iter(Video(films.turned(film, degrees)))).permute(1, 2, 0).numpy()
    assert np.array_equal(image, np.rot90(upright, -degrees // 90))


def test_folder_of_images_is_read_in_numeric_order(tmp_path: Path):
    for number in (10, 9, 100):
        Image.fromarray(films.picture(number)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "frame11.png").write_bytes(b"no picture")
    video = Video(tmp_path, rate=10)
    frames = list(video.frames())
    assert [red_left(frame.image) for frame in frames] == [9, 10, 100]
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.1, 0.3])
    assert "frame11.png" in video.problems[0]
    assert "3 frames read" in video.problems[-1]


def test_memory_stays_constant_while_reading(film: Path):
    frames = Video(film).frames()
    next(frames)
    assert sum(1 for _ in frames) == 29  # a generator: no list of frames is kept anywhere


def test_truncated_file_gives_the_frames_before(tmp_path: Path):
    film = films.write(tmp_path / "film.mkv", 60)
    content = film.read_bytes()
    film.write_bytes(content[: len(content) // 2])
    video = Video(film)
    count = len(list(video.frames()))
    assert 10 < count < 60
    assert any("the file states 2.40 s, the frames end at" in each for each in video.problems)
    assert f"{count} frames read" in video.problems[-1]


def test_damaged_packets_are_skipped_and_reported(tmp_path: Path):
    film = films.write(tmp_path / "film.mp4", 60, codec="libx264")
    content = bytearray(film.read_bytes())
    media = content.index(b"mdat") + 4
    middle = media + (content.index(b"moov") - media) // 2
    content[middle : middle + 3000] = b"\xff" * 3000
    film.write_bytes(content)
    video = Video(film)
    count = len(list(video.frames()))
    assert 20 < count < 60
    assert any("could not be decoded" in each or "could be decoded" in each for each in video.problems)


def test_change_of_size_in_stream_is_reported(tmp_path: Path):
    small = films.write(tmp_path / "small.ts", 10, codec="libx264")
    large = films.write(tmp_path / "large.ts", 10, size=(240, 320), codec="libx264")
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    video = Video(both)
    sizes = {tuple(frame.image.shape[1:]) for frame in video.frames()}
    assert sizes == {(120, 160), (240, 320)}
    assert any("the size changes from 160 x 120 to 320 x 240" in each for each in video.problems)


def test_wrong_arguments_are_all_reported(film: Path):
    with pytest.raises(ConfigError, match=r"every must be at least 1.*end must be after start"):
        Video(film, every=0, start=3, end=2)


def test_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        Video(tmp_path / "film.mp4")


def test_text_file_is_no_video(tmp_path: Path):
    (tmp_path / "film.mp4").write_text("no video at all")
    with pytest.raises(DataError, match="cannot be opened as a video"):
        Video(tmp_path / "film.mp4")


def test_sound_without_pictures_is_refused(tmp_path: Path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(DataError, match="holds no video stream; it holds audio"):
        Video(path)


def test_start_after_the_end_gives_the_length(film: Path):
    with pytest.raises(DataError, match=r"no frame could be read from 5 s to the end; it is 1\.20 s long"):
        list(Video(film, start=5))


def test_film_without_frames_is_refused(tmp_path: Path):
    film = films.write(tmp_path / "film.mkv", 0)
    with pytest.raises(DataError, match=r"no frame could be read|cannot be opened"):
        list(Video(film))
