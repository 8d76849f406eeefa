"""Nothing that a terminal obeys is printed raw, and no message is longer than a screen or two."""

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.cli.output import cell
from det_core.errors import DataError, DetError
from det_core.printable import described, printable, quoted
from hypothesis import given
from hypothesis import strategies as st

NASTY = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202ereversed\u2066\x00\x7f\udcff"


@given(st.text(st.characters(codec=None)))
def test_printable_text_has_no_control_characters_and_is_encodable(text):
    shown = printable(text)
    shown.encode()
    assert all(character in "\n\t" or not (ord(character) < 32 or 127 <= ord(character) < 160) for character in shown)


def test_printable_escape_sequences_are_spelled_out():
    assert printable("a\x1b[31mb") == r"a\x1b[31mb"
    assert printable("\u202e\udcff") == r"\u202e\udcff"
    assert printable("Größe 尺寸\tand\nmore") == "Größe 尺寸\tand\nmore"


def test_printable_long_text_is_cut_in_the_middle():
    assert printable("a" * 50 + "b" * 50, 44) == "aaaaaaaaaa ... 80 more ... bbbbbbbbbb"


class Hostile:
    def __repr__(self):
        raise ValueError("no")


class HostileError(Exception):
    def __str__(self):
        raise ValueError("no")


def test_quoted_and_described_survive_failing_repr():
    assert quoted(Hostile()) == "a Hostile whose repr raises"
    assert quoted(10**5000) == "a int whose repr raises"
    assert described(HostileError()) == "HostileError, whose text cannot be read"
    assert described(ValueError("two\nlines")) == "ValueError: two lines"


def test_errors_are_printable_and_short():
    error = DetError(NASTY, "is " + "x" * 10**7, NASTY * 10**5, "fix " + NASTY)
    assert len(str(error)) < 6500
    assert str(error).isprintable()
    assert "\x1b" not in str(error)


@pytest.mark.parametrize("name", ["\x1b[31mred", "[/x] not markup [bold]", "a" * 10**6])
def test_table_cell_keeps_name_literal(name):
    from rich.console import Console
    from rich.table import Table

    table = Table("metric")
    table.add_row(cell(name))
    console = Console(force_terminal=False, width=200, record=True)
    with console.capture() as captured:
        console.print(table)
    assert "\x1b" not in captured.get()
    assert len(captured.get()) < 3000


def test_recipe_name_with_escapes_is_spelled_out():
    result = CliRunner().invoke(det, ["recipes", "show", "\x1b[31mred"])
    assert result.exit_code == 2
    assert "\x1b" not in result.output
    assert DataError("a", "b").args
