"""What det-inspect adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl

# Callbacks that were part of det-core 0.1.
MOVED_NAMES = {
    f"det_core.engine.callbacks:{name}": f"det_inspect.training:{name}"
    for name in ("MLflow", "Profile", "SamplePredictions", "TensorBoard", "WandB")
}


@hookimpl
def det_commands() -> dict[str, str]:
    """Looking at data, at trainings before they begin and afterwards, and at published weights."""
    return {
        "data": "det_inspect.cli.data:command",
        "lr-find": "det_inspect.cli.lr_find:command",
        "recipes type": "det_inspect.cli.recipe_types:command",
        "runs": "det_inspect.cli.runs:command",
        "train --dry-run": "det_inspect.cli.trial:command",
        "train --overfit": "det_inspect.cli.trial:command",
        "zoo": "det_inspect.cli.zoo:command",
        "zoo convert": "det_inspect.cli.zoo_convert:command",
        "zoo verify": "det_inspect.cli.zoo_verify:command",
    }


@hookimpl
def det_evaluators() -> dict[str, str]:
    """The analysis that `det eval` runs beside the evaluators of a dataset."""
    return {"analysis": "det_inspect.analysis.explanation:Analysis"}
