"""Numbers with their nouns."""

import pytest
from det_inspect.counting import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("defect",), "1 defect"),
        (2, ("defect",), "2 defects"),
        (0, ("class", "classes"), "0 classes"),
        (1, ("class", "classes"), "1 class"),
    ],
)
def test_counted_chooses_singular_or_plural(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
