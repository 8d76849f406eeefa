"""Parsing of block tables: lists as in D2Go, or a line of text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from det_core.errors import ConfigError
from det_core.printable import quoted

__all__ = ["Block", "stages_of"]

_ENTRY = re.compile(r"(?P<op>[a-z]\w*) +(?P<channels>\d+)(?P<rest>( +[sxe]-?[\d.]+)*)")
_MOST = 500
"""Blocks of a table; the largest published network has 56."""


@dataclass(frozen=True)
class Block:
    """One block of a network.

    Attributes:
        op: name of the block, such as "ir_k3".
        channels: number of output channels, before scaling.
        stride: stride of the block; negative to upsample by this factor.
        options: option -> value, further arguments of the constructor.
    """

    op: str
    channels: int
    stride: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)


def stages_of(table: Any, where: str) -> list[list[Block]]:
    """Parse a table into the blocks of each stage, with repeated entries expanded.

    Args:
        table: stages, lists of entries [name, channels, stride, repeats, {option: value}, ...]; or a line such as
            "conv_k3 16 s2; ir_k3 16 x2 e1 | ir_k5 24 s2 e4", in which "|" divides stages.
        where: path in the recipe, for messages.

    Raises:
        ConfigError: the table has another format.
    """
    if isinstance(table, str):
        table = [[_words(entry.strip(), where) for entry in stage.split(";")] for stage in table.split("|")]
    if not isinstance(table, Sequence) or not table:
        raise _malformed(where, table)
    stages = []
    for number, stage in enumerate(table):
        if isinstance(stage, str) or not isinstance(stage, Sequence) or not stage:
            raise _malformed(f"{where}[{number}]", stage)
        stages.append([block for i, entry in enumerate(stage) for block in _blocks(entry, f"{where}[{number}][{i}]")])
    if not all(stages) or sum(map(len, stages)) > _MOST:
        found = f"got {[len(stage) for stage in stages]} blocks"
        raise ConfigError(where, f"needs at least one block a stage, and at most {_MOST}", found)
    return stages


def _words(text: str, where: str) -> list[Any]:
    match = _ENTRY.fullmatch(text)
    if match is None:
        fix = "write name and channels, then any of sSTRIDE, xREPEATS, eEXPANSION: 'ir_k3 24 s2 x2 e6'"
        raise ConfigError(where, "is no entry of a block table", f"got {quoted(text, 60)}", fix)
    stride, repeats, options = 1, 1, {}
    for word in match["rest"].split():
        try:
            value = float(word[1:]) if word[0] == "e" else int(word[1:])
        except ValueError as error:
            raise ConfigError(where, "is no entry of a block table", f"got {quoted(text, 60)}") from error
        if word[0] == "s":
            stride = int(value)
        elif word[0] == "x":
            repeats = int(value)
        else:
            options = {"expansion": value}
    return [match["op"], int(match["channels"]), stride, repeats, options]


def _blocks(entry: Any, where: str) -> list[Block]:
    if isinstance(entry, str):
        entry = _words(entry.strip(), where)
    if not isinstance(entry, Sequence) or not 2 <= len(entry) <= 12 or not isinstance(entry[0], str):
        raise _malformed(where, entry)
    numbers = [value for value in entry[1:4] if not isinstance(value, Mapping)]
    options: dict[str, Any] = {}
    for value in entry[1 + len(numbers) :]:
        if not isinstance(value, Mapping):
            raise _malformed(where, entry)
        options.update(value)
    if not numbers or any(isinstance(value, bool) or not isinstance(value, int) for value in numbers):
        raise _malformed(where, entry)
    channels, stride, repeats = (*numbers, 1, 1)[:3]
    if channels < 1 or stride == 0 or not 0 <= repeats <= _MOST:
        raise _malformed(where, entry)
    block = Block(entry[0], channels, stride, options)
    return [block, *[replace(block, stride=1)] * (repeats - 1)] if repeats else []


def _malformed(where: str, entry: Any) -> ConfigError:
    fix = "write [name, channels, stride, repeats, {option: value}], in lists of stages"
    return ConfigError(where, "is no entry of a block table", f"got {quoted(entry, 80)}", fix)
