"""Discovery remembers what is wrong with a plugin and lets nothing of it stop anything else."""

import json
import os
import subprocess
import sys
import threading

import pytest
from det_core import plugins

GOOD = """
    @hookimpl
    def det_backbones():
        return {"good": "good_module:Good"}
"""


def test_core_is_discovered_through_entry_point():
    core, zoo = [plugin for plugin in plugins.catalog().plugins if plugin.distribution == "det-core"]
    assert (core.module, core.status, core.problem) == ("det_core.plugins.builtin", "active", "")
    assert (zoo.module, zoo.status, list(zoo.components)) == ("det_core.zoo.plugin", "active", ["recipes"])
    assert core.components["backbones"]["resnet"] == "det_core.backbones:ResNet"


def test_components_are_listed_by_kind_without_import(install):
    plugin = install("det-good", GOOD, version="2.3")
    assert (plugin.version, plugin.module, plugin.status) == ("2.3", "det_good", "active")
    assert plugin.components == {"backbones": {"good": "good_module:Good"}}
    assert "good_module" not in sys.modules


def test_plugin_may_name_tools_and_two_word_commands(install):
    plugin = install(
        "det-tools",
        """
        @hookimpl
        def det_commands():
            return {"sing": "tools:sing", "sing loudly": "tools:loudly", "a b c": "tools:abc"}

        @hookimpl
        def det_writers():
            return {"xml": "tools:Xml", "x m l": "tools:Xml"}
        """,
    )
    assert plugin.components == {
        "commands": {"sing": "tools:sing", "sing loudly": "tools:loudly"},
        "writers": {"xml": "tools:Xml"},
    }
    assert "'a b c'; a name is one or two words without colons" in plugin.problem
    assert "'x m l'; a name is text without spaces and colons" in plugin.problem


def test_safe_parts_are_read_as_text_without_import(install):
    plugin = install("det-safe", "SAFE_PARTS = ('safe_module:Wing', 'no target', 3)")
    assert plugin.safe_parts == ("safe_module:Wing",)
    assert "SAFE_PARTS holds 'no target'; a part reads" in plugin.problem
    assert "safe_module" not in sys.modules
    assert "SAFE_PARTS must be" in install("det-unsafe", "SAFE_PARTS = 'safe_module:Wing'").problem


def test_catalog_is_built_once(install, monkeypatch):
    install("det-good", GOOD)
    first = plugins.catalog()
    assert plugins.catalog() is first
    assert plugins.catalog(refresh=True) is not first


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x =", "cannot be imported: SyntaxError"),
        ("raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines"),
        ("import sys; sys.exit(3)", "cannot be imported: RuntimeError: tried to end the program: SystemExit: 3"),
        ("class Odd(BaseException): pass\nraise Odd('so')", "tried to end the program: Odd: so"),
        ("@hookimpl\ndef det_backbones(wanted): return {}", "cannot be registered: PluginValidationError"),
    ],
)
def test_broken_plugin_is_recorded_and_others_work(install, source, words):
    install("det-good", GOOD)
    broken = install("det-broken", source)
    assert broken.status == "broken"
    assert words in broken.problem
    assert broken.components == {}
    catalog = plugins.catalog()
    assert any(problem.startswith("det-broken 1.0: cannot be") for problem in catalog.problems)
    assert {p.distribution: p.status for p in catalog.plugins}["det-good"] == "active"


def test_keyboard_interrupt_is_passed_on_with_plugin_name(install, capsys):
    with pytest.raises(KeyboardInterrupt):
        install("det-slow", "import signal\nsignal.raise_signal(signal.SIGINT)")
    told = "det: interrupted while det-slow was imported; DET_DISABLE_PLUGINS=det-slow goes on without it\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("@hookimpl\ndef det_heads(): raise ValueError('no heads')", "det_heads raises ValueError: no heads"),
        ("@hookimpl\ndef det_heads(): raise SystemExit(1)", "det_heads raises RuntimeError: tried to end the program"),
        ("@hookimpl\ndef det_heads(): return ['a']", "det_heads must return"),
        ("@hookimpl\ndef det_heads(): return None", "det_heads must return"),
        ("@hookimpl\ndef det_heads(): return {'a': 3}", "det_heads offers 'a' as 3; a target reads"),
        ("@hookimpl\ndef det_heads(): return {'a': 'module.A'}", "det_heads offers 'a' as 'module.A'"),
        ("@hookimpl\ndef det_heads(): return {'a b': 'module:A'}", "det_heads offers the name 'a b'"),
        ("@hookimpl\ndef det_heads(): return {1: 'module:A'}", "det_heads offers the name 1"),
        ("@hookimpl\ndef det_recipes(): return {'a': 'a.yaml'}", "det_recipes offers 'a' as 'a.yaml'"),
        ("@hookimpl\ndef det_head(): return {}", "det has no hook 'det_head'; did you mean 'det_heads'?"),
        ("@hookimpl\ndef det_zzz(): return {}", "det has no hook 'det_zzz'"),
        ("def det_heads(): return {}", "det_heads is not marked with @hookimpl"),
    ],
)
def test_invalid_hook_is_reported_and_other_hooks_work(install, hook, words):
    plugin = install("det-half", GOOD.replace("    @", "@").replace("    def", "def") + hook)
    assert plugin.status == "active"
    assert words in plugin.problem
    assert plugin.components["backbones"] == {"good": "good_module:Good"}
    assert not plugin.components.get("heads")
    assert any(words in problem for problem in plugins.catalog().problems)


def test_invalid_name_leaves_valid_ones(install):
    plugin = install("det-half", "@hookimpl\ndef det_heads(): return {'good': 'a.b:C', 'bad': 'a.b'}")
    assert plugin.components["heads"] == {"good": "a.b:C"}


@pytest.mark.parametrize("requires", ["det-core<0.0.1", "det_core<0.0.1", "Det.Core (<0.0.1)"])
def test_plugin_for_another_core_is_skipped_before_import(install, requires):
    plugin = install("det-old", "raise ValueError('imported')", requires=requires)
    assert plugin.status == "incompatible"
    assert plugin.problem.startswith("needs det-core<0.0.1, but ")


@pytest.mark.parametrize(
    "requires",
    ["det-core>=0.0.1", "det-core<0.0.1; python_version < '3'", "det-core<0.0.1; extra == 'x'", "det-core-extra<0.0.1"],
)
def test_satisfied_or_inapplicable_requirement_is_accepted(install, requires):
    assert install("det-new", GOOD, requires=requires).status == "active"


def test_disabled_plugin_is_not_imported(install, monkeypatch):
    monkeypatch.setenv("DET_DISABLE_PLUGINS", "det-other, Det_Off")
    plugin = install("det-off", "raise ValueError('imported')")
    assert (plugin.status, plugin.problem) == ("disabled", "switched off by DET_DISABLE_PLUGINS")
    assert not any("det-off" in problem for problem in plugins.catalog().problems)


def test_two_distributions_may_use_one_entry_point_name(install):
    install("det-one", GOOD, point="same")
    install("det-two", GOOD, point="same")
    found = [plugin.distribution for plugin in plugins.catalog().plugins]
    assert {"det-one", "det-two"} <= set(found)
    assert found == sorted(found)


def test_one_distribution_may_bring_two_plugins(install, site):
    install("det-double", GOOD)
    (site / "det_second.py").write_text((site / "det_double.py").read_text().replace("backbones", "heads"))
    (site / "det_double-1.0.dist-info" / "entry_points.txt").write_text("[det]\na = det_double\nb = det_second\n")
    found = [p for p in plugins.catalog(refresh=True).plugins if p.distribution == "det-double"]
    assert [(p.module, list(p.components)) for p in found] == [("det_double", ["backbones"]), ("det_second", ["heads"])]


def test_distribution_installed_twice_is_listed_once(install, tmp_path, monkeypatch):
    install("det-twice", GOOD, version="1.0")
    behind = tmp_path / "behind"
    behind.mkdir()
    monkeypatch.syspath_prepend(tmp_path / "nothing")
    sys.path.append(str(behind))
    try:
        plugin = install("det-twice", GOOD, version="0.9", folder=behind)
    finally:
        sys.path.remove(str(behind))
    assert plugin.version == "1.0"
    assert len([p for p in plugins.catalog().plugins if p.distribution == "det-twice"]) == 1
    words = "det-twice: is installed twice; 1.0 is used, 0.9 is hidden behind it; pip uninstall det-twice"
    assert any(problem.startswith(words) for problem in plugins.catalog().problems)


def test_unreadable_metadata_is_reported_and_skipped(install, site):
    install("det-good", GOOD)
    record = site / "det_torn-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Name: det-torn\nVersion: 1.0\n")
    (record / "entry_points.txt").write_bytes(b"[det]\ntorn = \xff\xfe\n")
    catalog = plugins.catalog(refresh=True)
    assert any("its metadata cannot be read" in problem for problem in catalog.problems)
    assert "det-good" in {plugin.distribution for plugin in catalog.plugins}


def test_metadata_without_name_is_reported(site):
    record = site / "nameless-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Version: 1.0\n")
    (record / "entry_points.txt").write_text("[det]\nnameless = nameless\n")
    assert any("nameless" in problem for problem in plugins.catalog(refresh=True).problems)


def test_plugin_output_does_not_reach_stdout(install, capsys):
    install("det-loud", "print('HELLO')\n@hookimpl\ndef det_heads():\n    print('AGAIN')\n    return {}")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "HELLO" in captured.err
    assert "AGAIN" in captured.err


def test_plugin_importing_torch_is_reported(install, site):
    install("det-heavy", "import torch")
    (site / "torch.py").write_text("")
    code = "from det_core import plugins, cli; import json; print(json.dumps(plugins.catalog().problems))"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert any(p.startswith("det-heavy 1.0: det_heavy imports torch") for p in json.loads(run.stdout))


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(60)",
        "while True: pass",
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
        "import time\nfor _ in range(600):\n    try: time.sleep(0.1)\n    except Exception: pass",
    ],
    ids=["sleep", "loop", "lock", "a loop that tries again"],
)
def test_hanging_plugin_is_named_and_skipped(install, monkeypatch, source):
    install("det-good", GOOD)
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.7")
    plugin = install("det-hangs", source)
    assert plugin.status == "hanging"
    assert plugin.problem == "takes longer than 0.7 s to be imported, more than DET_PLUGIN_TIMEOUT allows"
    catalog = plugins.catalog()
    assert f"det-hangs 1.0: {plugin.problem}" in catalog.problems
    assert {p.distribution: p.status for p in catalog.plugins}["det-good"] == "active"


def test_hanging_hook_is_reported_and_other_hooks_work(install, monkeypatch):
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.7")
    hook = "import time\n@hookimpl\ndef det_heads(): time.sleep(60)\n"
    plugin = install("det-slow", GOOD.replace("    @", "@").replace("    def", "def") + hook)
    assert (plugin.status, plugin.problem) == ("active", "det_heads takes longer than 0.7 s")
    assert plugin.components["backbones"] == {"good": "good_module:Good"}


def test_hanging_plugin_off_main_thread_is_named_and_awaited(install, monkeypatch, capsys):
    install("det-slow", "import time\ntime.sleep(1)")
    sys.modules.pop("det_slow")
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.3")
    thread = threading.Thread(target=plugins.catalog, args=(True,))
    thread.start()
    thread.join()
    (plugin,) = [plugin for plugin in plugins.catalog().plugins if plugin.distribution == "det-slow"]
    assert plugin.status == "active"
    told = "det: det-slow has been busy for more than 0.3 s; DET_DISABLE_PLUGINS=det-slow goes on without it\n"
    assert capsys.readouterr().err == told


def test_torch_is_never_left_half_imported(install, site):
    (site / "torch.py").write_text("import time\ntime.sleep(1)\nwhole = True")
    install("det-heavy", "import torch")
    code = "from det_core import plugins; plugins.catalog(); import torch; print(torch.whole)"
    environment = {**os.environ, "PYTHONPATH": str(site), "DET_PLUGIN_TIMEOUT": "0.3"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_invalid_timeout_is_reported(install, monkeypatch, text):
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", text)
    assert install("det-good", GOOD).status == "active"
    words = f"DET_PLUGIN_TIMEOUT: {text!r} is not a number of seconds; 10 is used"
    assert any(problem.startswith(words) for problem in plugins.catalog().problems)


@pytest.mark.parametrize(("seconds", "more"), [("0", 0), ("5", 1)])
def test_timeout_needs_thread_during_discovery_only(install, monkeypatch, seconds, more):
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", seconds)
    before = threading.active_count()
    install("det-good", "import threading\ncount = threading.active_count()")
    assert sys.modules["det_good"].count == before + more
    assert threading.active_count() == before
