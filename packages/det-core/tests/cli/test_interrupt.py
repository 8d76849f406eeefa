import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import standins

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to interrupt")
DET = "import sys; from det_core.cli.main import main; main()"


def test_train_ctrl_c_reaching_loader_workers_still_saves_run(tmp_path):
    recipe = standins.recipe(steps=100_000, log_every=1)
    recipe.tree["data"]["workers"] = 1
    path = recipe.save(tmp_path / "squares.yaml")
    environment = {**os.environ, "PYTHONPATH": str(Path(standins.__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DET, "train", str(path), "--output", str(tmp_path / "run")]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        scalars = tmp_path / "run" / "scalars.jsonl"
        while process.poll() is None and not (scalars.exists() and scalars.read_text().count("\n") > 3):
            time.sleep(0.1)
        # As a terminal does: to the whole group of processes at once.
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Stopped after step" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "run" / "last.state.pt").exists()
