"""`det ray predict` with Ray where workers, the driver and disks fail, and with 20 000 images: each exactly once."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import tiny_detector
from det_ray.folder import RunFolder
from det_ray.results import read_rows

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]

BLUE = (10, 10, 250)


def start(source, model, output, *options):
    """The command in a process of its own, as a user would start it."""
    main = "from det_core.cli.main import main; main()"
    program = [sys.executable, "-c", main, "ray", "predict", source, "--model", model, "--trust"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    environment["RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE"] = "1"
    command = [*map(str, program), "--output", str(output), "--workers", "2", *map(str, options)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_blocks(folder, count, process):
    while len(folder.done()) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)


def processes_of(output):
    """Processes of Ray that the commands of a test have started, and that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"DET_RAY_TEST={output}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return set(found) - {os.getpid()}


def require_each_once(output, paths):
    counts = Counter(row["path"] for row in read_rows(output, ["path"]))
    assert counts == Counter(map(str, paths))


def test_killed_worker_leaves_each_image_exactly_once(command, tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 60)
    paths[31].write_bytes(tiny_detector.picture(31, first=BLUE))
    kill = tmp_path / "kill"
    kill.touch()
    model = tiny_detector.save(tmp_path / "m.safetensors", seconds=0.02, kill=str(kill))
    arguments = ("--model", model, "--trust", "--output", tmp_path / "found", "--workers", 2, "--block", 6)
    code, text = command("ray", "predict", tmp_path / "images", *arguments)
    assert code == 0, text
    assert not kill.exists()
    require_each_once(tmp_path / "found", paths)


def test_image_that_kills_each_worker_becomes_a_bad_one(command, tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 12)
    paths[5].write_bytes(tiny_detector.picture(5, first=BLUE))
    kill = tmp_path / "kill"
    kill.touch()
    model = tiny_detector.save(tmp_path / "m.safetensors", kill=str(kill), once=False)
    arguments = ("--model", model, "--trust", "--output", tmp_path / "found", "--workers", 2, "--block", 4)
    code, text = command("ray", "predict", tmp_path / "images", *arguments)
    assert code == 1, text
    rows = list(read_rows(tmp_path / "found"))
    assert [row["path"] for row in rows if row["error"]] == [str(paths[5])]
    require_each_once(tmp_path / "found", paths)


def test_killed_driver_leaves_no_process_and_resumes(tmp_path, monkeypatch):
    paths = tiny_detector.write(tmp_path / "images", 60)
    model = tiny_detector.save(tmp_path / "m.safetensors", seconds=0.2)
    output = tmp_path / "found"
    monkeypatch.setenv("DET_RAY_TEST", str(output))
    driver = start(tmp_path / "images", model, output, "--block", 4)
    folder = RunFolder(output)
    wait_for_blocks(folder, 3, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    end = time.monotonic() + 240  # on a busy machine
    while processes_of(output) and time.monotonic() < end:
        time.sleep(0.5)
    assert not processes_of(output)
    before = {number: folder.block(number).stat().st_mtime_ns for number in folder.done()}
    assert len(before) < 15
    again = start(tmp_path / "images", model, output, "--block", 4)
    text = again.communicate()[0]
    assert again.returncode == 0, text
    assert "going on with" in text
    assert all(folder.block(number).stat().st_mtime_ns == when for number, when in before.items())
    require_each_once(output, paths)


def test_interrupted_command_names_the_blocks_and_goes_on(tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 40)
    model = tiny_detector.save(tmp_path / "m.safetensors", seconds=0.2)
    driver = start(tmp_path / "images", model, tmp_path / "found", "--block", 4)
    wait_for_blocks(RunFolder(tmp_path / "found"), 2, driver)
    driver.send_signal(signal.SIGINT)
    text = driver.communicate()[0]
    assert driver.returncode == 130, text
    assert "The same command goes on" in text
    again = start(tmp_path / "images", model, tmp_path / "found", "--block", 4)
    text = again.communicate()[0]
    assert again.returncode == 0, text
    require_each_once(tmp_path / "found", paths)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    program = shutil.which("mount")
    mounted = program and subprocess.run([program, "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], check=False)
    if not mounted or mounted.returncode:
        pytest.skip("may not mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_full_disk_ends_the_run_until_there_is_space(small_disk, tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 40)
    model = tiny_detector.save(tmp_path / "m.safetensors")
    output = small_disk / "found"
    full = start(tmp_path / "images", model, output, "--block", 1)
    text = full.communicate()[0]
    assert full.returncode == 2, text
    assert "No space left on device" in text
    done = len(RunFolder(output).done())
    assert 0 < done < 40
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    again = start(tmp_path / "images", model, output, "--block", 1)
    text = again.communicate()[0]
    assert again.returncode == 0, text
    require_each_once(output, paths)


def test_20_000_images_with_broken_ones_each_once(tmp_path):
    paths = tiny_detector.write(tmp_path / "images", 20_000)
    broken = {
        number: (b"", b"no image", tiny_detector.picture(number)[:200])[number % 3] for number in range(0, 20_000, 20)
    }
    for number, content in broken.items():
        paths[number].write_bytes(content)
    model = tiny_detector.save(tmp_path / "m.safetensors")
    run = start(tmp_path / "images", model, tmp_path / "found")
    text = run.communicate()[0]
    assert run.returncode == 1, text
    assert "20,000 images, 1,000 of them bad" in text
    require_each_once(tmp_path / "found", paths)
    folder = RunFolder(tmp_path / "found")
    peaks = [folder.summary(number)["peak_mb"] for number in sorted(folder.done())]
    assert max(peaks) < 1.1 * peaks[10]
    bad = {row["path"] for row in read_rows(tmp_path / "found", ["path", "error"]) if row["error"]}
    assert bad == {str(paths[number]) for number in broken}
