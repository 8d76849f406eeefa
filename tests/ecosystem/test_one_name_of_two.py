"""Two plugins offer one name: the short name means neither, qualified ones work, and who came first is no matter."""

import pytest
from wheelwright import plugin_wheel

SOURCE = """
@hookimpl
def det_backbones():
    return {{"twin": "{module}:{thing}"}}

class {thing}: ...
"""
ASK = """
from det_core.plugins import registry
from det_core.errors import UnknownNameError

for name in ("twin", "det-one/twin", "det-two/twin"):
    try:
        print(registry.find("backbones", name).load().__name__)
    except UnknownNameError as error:
        print(error)
"""


@pytest.fixture(params=["one before two", "two before one"])
def twins(request, environment, wheels):
    one = plugin_wheel(wheels, "det-one", SOURCE.format(module="det_one", thing="First"))
    two = plugin_wheel(wheels, "det-two", SOURCE.format(module="det_two", thing="Second"))
    for wheel in (one, two) if request.param == "one before two" else (two, one):
        environment.install(wheel)
    yield environment
    environment.uninstall("det-one", "det-two")


def test_shared_name_is_error_on_use_in_any_order(twins):
    assert twins.plugins()["det-one"]["problem"] == ""
    said = "backbone 'twin': means several things; write 'det-one/twin' or 'det-two/twin'"
    assert twins.code(ASK).stdout.splitlines() == [said, "First", "Second"]


def test_doctor_notes_qualified_names(twins):
    assert "-> write 'det-one/twin' or 'det-two/twin'" in twins.det("plugins", "doctor").stdout
