"""Nothing that a terminal obeys comes out, and nothing is longer than it may be."""

import pytest
from det_safeload.printable import described, printable, quoted


def test_printable_control_characters_are_escaped_and_line_breaks_stay():
    assert printable("a\x1b[31mb\u202ec\n\td\udcff") == "a\\x1b[31mb\\u202ec\n\td\\udcff"


def test_printable_long_text_is_cut_in_the_middle():
    text = printable("a" * 1000, 100)
    assert len(text) <= 100
    assert " more ... " in text


def test_quoted_value_with_failing_repr_gives_class_name():
    class Odd:
        def __repr__(self):
            raise ValueError

    assert quoted(Odd()) == "a Odd whose repr raises"


@pytest.mark.parametrize(
    ("error", "text"), [(ValueError("why\n so"), "ValueError: why so"), (KeyError(), "KeyError: ")]
)
def test_described_error_is_one_line(error, text):
    assert described(error) == text
