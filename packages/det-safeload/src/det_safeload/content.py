"""The refusal of a text file: where, what is wrong, what was found, what to do."""

__all__ = ["ContentError"]


class ContentError(ValueError):
    """A file or text cannot be used.

    Args:
        where: the file, with the line if one is at fault.
        problem: description of the fault, after `where`.
        found: the offending value, "" for none.
        fix: suggestion for the user, "" for none.
    """

    def __init__(self, where: str, problem: str, found: str = "", fix: str = "") -> None:
        self.where, self.problem, self.found, self.fix = where, problem, found, fix
        super().__init__(where, problem, found, fix)

    def __str__(self) -> str:
        return f"{self.where}: " + "; ".join(part for part in (self.problem, self.found, self.fix) if part)
