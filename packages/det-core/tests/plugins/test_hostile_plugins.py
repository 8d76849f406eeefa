"""Nothing that a plugin does when it is looked at stops a command: it is stopped, named, and the others work."""

import os
import subprocess
import sys
import time

import pytest
from det_core import plugins


@pytest.fixture(autouse=True)
def forgotten(site):
    """A plugin that puts something else in its own place is not found by the fixture that forgets what it installed."""
    yield
    sys.modules.pop("det_odd", None)


GOOD = "@hookimpl\ndef det_backbones(): return {'good': 'good_module:Good'}\n"
UNREADABLE = """
class Odd({base}):
    def __str__(self): {does}
    __repr__ = __str__
{raises}
"""
HOSTILE = {
    "str raises": UNREADABLE.format(base="Exception", does="raise ValueError('again')", raises="raise Odd"),
    "str exits": UNREADABLE.format(base="Exception", does="raise SystemExit(3)", raises="raise Odd"),
    "str interrupts": UNREADABLE.format(base="BaseException", does="raise KeyboardInterrupt", raises="raise Odd"),
    "str raises itself": UNREADABLE.format(base="Exception", does="raise self", raises="raise Odd"),
    "str is no text": UNREADABLE.format(base="Exception", does="return 3", raises="raise Odd"),
    "str never ends": UNREADABLE.format(base="Exception", does="\n        while True: pass", raises="raise Odd"),
    "name of a missing module raises": UNREADABLE.format(
        base="ModuleNotFoundError", does="return 'no'\n    name = property(lambda self: 1 / 0)", raises="raise Odd"
    ),
    "name of the class raises": (
        "class Meta(type):\n    __name__ = property(lambda cls: 1 / 0)\n"
        "class Odd(Exception, metaclass=Meta): pass\nraise Odd('so')"
    ),
    "interrupts at import": "raise KeyboardInterrupt",
    "exits at import": "raise SystemExit",
    "exits with text": "import sys; sys.exit('x' * 10**6)",
    "leaves a generator": "raise GeneratorExit",
    "message of 10 MB": "raise ValueError('x' * 10**7)",
    "escapes in the message": "raise ValueError('\\x1b[2J\\x9b31m\\u202e\\udcff')",
    "swallows the time limit": "while True:\n    try: import time; time.sleep(9)\n    except BaseException: pass",
    "swallows it in a function": (
        "import time\ndef wait():\n    try: time.sleep(9)\n    except BaseException: pass\nwhile True: wait()"
    ),
    "never comes back from an exit": "try: raise SystemExit\nfinally:\n    while True: pass",
    "recurses for ever": "def f(): f()\nf()",
    "no module any more": "import sys\nsys.modules[__name__] = object()",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_plugin_hostile_on_import_is_named_and_others_work(install, monkeypatch, source):
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.6")
    install("det-good", GOOD)
    plugin = install("det-odd", source)
    assert plugin.status in ("broken", "hanging")
    assert 0 < len(plugin.problem) < 1000
    assert plugin.problem.isprintable()
    assert {each.distribution: each.status for each in plugins.catalog().plugins}["det-good"] == "active"
    assert any(problem.startswith("det-odd 1.0: ") for problem in plugins.catalog().problems)


RETURNED = {
    "endless": "class M(Mapping):\n  def items(self):\n    while True: yield 'a', 'm:A'",
    "endless and slow": "class M(Mapping):\n  def items(self):\n    import time\n    while True: time.sleep(0.05)",
    "items raise": "class M(Mapping):\n  def items(self): raise KeyboardInterrupt",
    "items are no pairs": "class M(Mapping):\n  def items(self): return [1, 2]",
    "class is asked": "class M:\n  __class__ = property(lambda self: 1 / 0)",
    "names whose repr raises": (
        "class N:\n  def __repr__(self): raise SystemExit\nclass M(Mapping):\n  def items(self): return [(N(), 'm:A')]"
    ),
    "text that is hostile": (
        "class T(str):\n  def __eq__(self, other): raise ValueError\n  def __hash__(self): raise ValueError\n"
        "  def __str__(self): raise ValueError\n  __repr__ = __format__ = __str__\n"
        "class M(Mapping):\n  def items(self): return [(T('a b'), T('no target')), (T('fine'), T('m:A'))]"
    ),
    "many": "class M(Mapping):\n  def items(self): return [(f'a{n}', 'm:A') for n in range(20_000)]",
    "many that are wrong": "class M(Mapping):\n  def items(self): return [(n, 'm:A') for n in range(9_000)]",
    "a name of 1 MB": "class M(Mapping):\n  def items(self): return [('a' * 10**6, 'm:A')]",
    "a target of 1 MB": "class M(Mapping):\n  def items(self): return [('a', 'm:' + 'A' * 10**6)]",
    "escapes": "class M(Mapping):\n  def items(self): return [('\\x1b[31mred', 'm:A'), ('b\\u202e', 'm:A')]",
    "a value of 10 MB": "class M(list): pass\nM = lambda: ['x' * 10**7]",
}


@pytest.mark.parametrize("source", RETURNED.values(), ids=RETURNED)
def test_hook_result_is_read_within_timeout(install, monkeypatch, source):
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.6")
    base = (
        "  def __len__(self): return 1\n  def __iter__(self): return iter(())\n  def __getitem__(self, key): return 1"
    )
    hook = "@hookimpl\ndef det_heads(): return M()\n"
    if "(Mapping)" in source:
        source = source.replace("class M(Mapping):", f"class M(Mapping):\n{base}")
    plugin = install("det-odd", f"from collections.abc import Mapping\n{GOOD}{source}\n{hook}")
    assert plugin.status == "active", plugin.problem
    assert plugin.components["backbones"] == {"good": "good_module:Good"}
    assert set(plugin.components.get("heads", ())) <= {"fine"}
    assert 0 < len(plugin.problem) < 5000
    assert plugin.problem.isprintable()
    for name, target in plugin.components.get("heads", {}).items():
        assert (type(name), type(target)) == (str, str)


@pytest.mark.parametrize(
    "target", ["det_odd:function", "det_odd:Class", "det_odd:text", "det_odd:number", "det_odd:many"]
)
def test_entry_point_without_module_is_reported(install, site, target):
    install("det-odd", "def function(): pass\nclass Class: pass\ntext, number, many = 'det', 3, [1]\n")
    (site / "det_odd-1.0.dist-info" / "entry_points.txt").write_text(f"[det]\nodd = {target}\n")
    (plugin,) = [each for each in plugins.catalog(refresh=True).plugins if each.distribution == "det-odd"]
    assert plugin.status == "broken"
    assert "its entry point names a " in plugin.problem
    assert "where a module belongs" in plugin.problem


@pytest.mark.parametrize(
    "source",
    [
        "import sys, types\nclass M(types.ModuleType):\n  def __dir__(self): raise KeyboardInterrupt\n",
        "import sys, types\nclass M(types.ModuleType):\n  def __dir__(self): raise SystemExit\n",
        "import sys, types\nclass M(types.ModuleType):\n  def __getattribute__(self, name): raise ValueError\n",
        "import sys, types\nclass M(types.ModuleType):\n  def __dir__(self):\n    while True: pass\n",
    ],
)
def test_hostile_module_object_stops_no_command(install, monkeypatch, source):
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.6")
    plugin = install("det-odd", f"{source}sys.modules[__name__] = M(__name__)")
    assert plugin.status == "broken"
    assert plugin.problem.startswith(("cannot be registered: ", "cannot be imported: "))


@pytest.mark.parametrize("name", ["det-\x1b[31modd", "det odd", "-" * 200])
def test_distribution_with_invalid_name_is_ignored(site, name):
    record = site / "odd-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[det]\nodd = odd\n")
    catalog = plugins.catalog(refresh=True)
    (problem,) = [problem for problem in catalog.problems if "metadata cannot be read" in problem]
    assert problem.isprintable()
    assert all(plugin.module != "odd" for plugin in catalog.plugins)


def test_endless_thread_is_named_and_commands_do_not_wait(install, site):
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(40,), name='for ever').start()"
    (site / "det_odd.py").write_text(source)
    record = site / "det_odd-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: det-odd\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[det]\nodd = det_odd\n")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    start = time.monotonic()
    command = [sys.executable, "-c", "from det_core.cli.main import main; main()", "plugins"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert time.monotonic() - start < 35
    assert run.returncode == 0
    assert "leaves the thread 'for ever' behind" in " ".join(run.stdout.split())
    assert "det-odd's thread 'for ever' does not end" in run.stderr
