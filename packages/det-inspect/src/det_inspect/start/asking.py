"""Questions that a folder does not answer: asked on a terminal; otherwise an error names the option."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click
from det_core.errors import ConfigError

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """Answers given as options, and a person to ask for the others.

    Attributes:
        options: option -> value; None or "" for one that was not given.
        terminal: whether there is someone to be asked; None: standard input is a terminal.
    """

    options: Mapping[str, str | None] = field(default_factory=dict)
    terminal: bool | None = None

    def value(self, option: str) -> str:
        """The value of an option, "" where it was not given."""
        return self.options.get(option) or ""

    def ask(self, option: str, question: str, choices: Sequence[str]) -> str:
        """The value of an option, asked for where it was not given.

        Raises:
            ConfigError: no one can be asked.
        """
        if value := self.value(option):
            return value
        if not (sys.stdin.isatty() if self.terminal is None else self.terminal):
            raise ConfigError(
                f"det start {option}", "has to be given here", question, f"add {option} {'|'.join(choices)}"
            )
        answer: str = click.prompt(question, type=click.Choice(list(choices)), err=True)
        return answer
