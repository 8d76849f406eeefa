"""Numbers with their nouns."""

__all__ = ["counted"]


def counted(number: int, one: str, several: str = "") -> str:
    """A number with its noun: "1 class", "2 classes".

    Args:
        number: number of things to count.
        one: the noun of one thing.
        several: plural of the noun; "": the noun with an s.
    """
    return f"{number} {one if number == 1 else several or f'{one}s'}"
