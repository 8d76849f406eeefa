"""Untrusted text for a terminal: control characters are escaped, long values are shortened.

The name of a class, a file or a plugin may contain sequences that move the cursor, recolor the screen, set its title or
reverse the reading direction. Names are kept unchanged inside the program and pass through here when printed.
"""

import re
from typing import Any

__all__ = ["described", "printable", "quoted", "type_name"]

# C0 but tab and newline, DEL, C1, marks of direction, line separators, surrogates (which no terminal can encode), BOM.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)
_TYPE_NAME = type.__dict__["__name__"]


def printable(text: str, limit: int = 0) -> str:
    r"""The text with every character escaped that a terminal would interpret: ESC becomes the four characters `\x1b`.

    Args:
        text: any text; tabs and line breaks are kept.
        limit: maximum number of characters; longer text is shortened in the middle; 0 for no limit.
    """
    if limit and len(text) > limit:
        half = max(1, (limit - 24) // 2)
        text = f"{text[:half]} ... {len(text) - 2 * half} more ... {text[-half:]}"
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def type_name(value: Any) -> str:
    """The name of a value's class, even where its metaclass overrides `__name__`."""
    return printable(str(_TYPE_NAME.__get__(type(value))), 80)


def quoted(value: Any, limit: int = 80) -> str:
    """`repr(value)` for a message: escaped, shortened, and replaced by the class where it raises."""
    try:
        return printable(repr(value), limit)
    except Exception:
        return f"a {type_name(value)} whose repr raises"


def described(error: BaseException, limit: int = 300) -> str:
    """An error in one line, "ValueError: why"; the class alone where its `str` raises."""
    name = type_name(error)
    try:
        text = " ".join(str.__str__(str(error)).split())
    except Exception:
        return f"{name}, whose text cannot be read"
    return printable(f"{name}: {text}", limit)
