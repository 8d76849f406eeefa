"""A plugin that hangs on import costs its time limit, once, and is named."""

import pytest
from wheelwright import plugin_wheel

LIMIT = {"DET_PLUGIN_TIMEOUT": "1.5"}


@pytest.fixture(scope="module")
def hung(holding, wheels):
    return holding(
        plugin_wheel(wheels, "det-hangs", "import socket\na, b = socket.socketpair()\na.recv(1)"),
        plugin_wheel(wheels, "det-well", "@hookimpl\ndef det_heads(): return {'well': 'det_well:det_heads'}"),
    )


def test_it_is_left_behind_and_the_others_work(hung):
    plugins = hung.plugins(**LIMIT)
    assert plugins["det-hangs"]["status"] == "hanging"
    assert plugins["det-hangs"]["problem"].startswith("takes longer than 1.5 s to be imported")
    assert plugins["det-well"]["components"] == {"heads": {"well": "det_well:det_heads"}}


def test_doctor_suggests_longer_timeout_or_disabling(hung):
    page = hung.det("plugins", "doctor", **LIMIT).stdout
    assert "-> DET_PLUGIN_TIMEOUT=60 det plugins  # gives it more time; DET_DISABLE_PLUGINS=det-hangs goes on" in page


def test_disabled_plugin_costs_no_time(hung):
    plugins = hung.plugins(DET_DISABLE_PLUGINS="det-hangs", DET_PLUGIN_TIMEOUT="0")
    assert plugins["det-hangs"]["status"] == "disabled"


def test_off_the_main_thread_it_is_named_on_stderr(hung):
    result = hung.code(
        """
        import threading
        from det_core import plugins

        thread = threading.Thread(target=plugins.catalog, daemon=True)
        thread.start()
        thread.join(4)
        """,
        **LIMIT,
    )
    assert "det: det-hangs has been busy for more than 1.5 s; DET_DISABLE_PLUGINS=det-hangs" in result.stderr
