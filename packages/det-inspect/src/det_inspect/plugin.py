"""What det-inspect adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl


@hookimpl
def det_commands() -> dict[str, str]:
    """Looking at data."""
    return {"data": "det_inspect.cli.data:command"}


@hookimpl
def det_evaluators() -> dict[str, str]:
    """The analysis that `det eval` runs beside the evaluators of a dataset."""
    return {"analysis": "det_inspect.analysis.explanation:Analysis"}
