"""A plugin that ends or stops every process is named, and the others are in use."""

import os
import sys

import pytest
from det_core import plugins
from det_core.plugins import discovery
from det_devkit import doctor, probe

GOOD = "@hookimpl\ndef det_backbones(): return {'good': 'good_module:Good'}\n"


@pytest.fixture(autouse=True)
def forgotten(site):
    """A plugin that puts something else in its own place is not found by the fixture that forgets what it installed."""
    yield
    sys.modules.pop("det_odd", None)


DEADLY = {
    "import os; os._exit(0)": "ends every command: the process exits with 0 when",
    "import os; os._exit(7)": "ends every command: the process exits with 7 when",
    "import os; os.abort()": "crashes every command: SIGABRT when",
    "import ctypes; ctypes.string_at(0)": "crashes every command: SIGSEGV when",
    GOOD + "@hookimpl\ndef det_heads():\n    import os; os._exit(1)": "ends every command: the process exits with 1",
    "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\ntime.sleep(60)": (
        "stops every command: it does not come back"
    ),
}


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="the ways to crash are those of POSIX")
@pytest.mark.parametrize(("source", "words"), DEADLY.items())
def test_doctor_names_plugin_that_ends_process(site, monkeypatch, source, words):
    monkeypatch.setattr(doctor.probe, "culprits", lambda: probe_of(["det-odd", "det-good"]))
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.5")
    for name, code in (("odd", source), ("good", GOOD)):
        (site / f"det_{name}.py").write_text(f"from det_core.plugins.hooks import hookimpl\n{code}\n")
        record = site / f"det_{name}-1.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: det-{name}\nVersion: 1.0\n")
        (record / "entry_points.txt").write_text(f"[det]\n{name} = det_{name}\n")
    found = doctor.check_environment(import_torch=False)
    (finding,) = [each for each in found.problems if each.where == "det-odd 1.0"]
    assert finding.problem.startswith(words)
    assert finding.fix.startswith("DET_DISABLE_PLUGINS=det-odd goes on without it; ")
    assert not any(each.where.startswith("det-odd") for each in found.notes)
    assert {each.distribution: each.status for each in plugins.catalog().plugins}["det-good"] == "active"
    assert os.environ.get("DET_DISABLE_PLUGINS") is None


_culprits = probe.culprits


def probe_of(names):
    """The culprits among a few plugins; the others that are installed are sound and would take their time."""
    whole = discovery.installed

    def some():
        return tuple(each for each in whole() if each[0] in names)

    discovery.installed = some
    try:
        return _culprits(timeout=8)
    finally:
        discovery.installed = whole


def test_doctor_probes_each_plugin_and_accepts_valid_ones(site):
    assert _culprits() == ()
