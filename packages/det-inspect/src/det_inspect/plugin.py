"""What det-inspect adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl

_CALLBACKS = ("BestCheckpoint", "EarlyStopping", "MLflow", "Profile", "SamplePredictions", "TensorBoard", "WandB")
# Parts of det-core before 0.2.
MOVED_NAMES = {
    **{f"det_core.engine.callbacks:{name}": f"det_inspect.training:{name}" for name in _CALLBACKS},
    "det_core.engine.callbacks.selection": "det_inspect.training",
    "det_inspect.training.selection": "det_inspect.training",
    "det_core.models.augmented": "det_inspect.predictions.augmented",
    "det_core.predict.augmented": "det_inspect.predictions.augmented",
}
SAFE_PARTS = ("det_inspect.training.early_stopping:EarlyStopping",)


@hookimpl
def det_commands() -> dict[str, str]:
    """Commands for data, model costs, trial runs, finished runs, and published weights."""
    return {
        "analyze": "det_inspect.cli.analyze:command",
        "benchmark": "det_inspect.cli.benchmark:command",
        "data": "det_inspect.cli.data:command",
        "data split": "det_inspect.cli.start:split",
        "eval --predictions": "det_inspect.results.command:evaluate_files",
        "licenses": "det_inspect.cli.licenses:command",
        "lr-find": "det_inspect.cli.lr_find:command",
        "predict --tile": "det_inspect.predictions.tiles:tiled",
        "recipes type": "det_inspect.cli.recipe_types:command",
        "runs": "det_inspect.cli.runs:command",
        "start": "det_inspect.cli.start:command",
        "train DATA": "det_inspect.cli.start:recipe_for",
        "train --dry-run": "det_inspect.cli.trial:command",
        "train --overfit": "det_inspect.cli.trial:command",
        "train --scale-lr": "det_inspect.training.linear_rule:scaled",
        "train --watch": "det_inspect.training:AnchorFit",
        "view": "det_inspect.cli.view:command",
        "zoo": "det_inspect.cli.zoo:command",
        "zoo convert": "det_inspect.cli.zoo_convert:command",
        "zoo verify": "det_inspect.cli.zoo_verify:command",
    }


@hookimpl
def det_evaluators() -> dict[str, str]:
    """The analysis that `det eval` runs in addition to the evaluators of a dataset."""
    return {"analysis": "det_inspect.analysis.explanation:Analysis"}


@hookimpl
def det_writers() -> dict[str, str]:
    """Predictions as tables, as files of annotation tools, and as crops."""
    return {
        "crops": "det_inspect.predictions.writers:CropWriter",
        "csv": "det_inspect.predictions.writers:CsvWriter",
        "label-studio": "det_inspect.predictions.writers:LabelStudioWriter",
        "labelme": "det_inspect.predictions.writers:LabelMeWriter",
        "voc": "det_inspect.predictions.writers:VocWriter",
        "yolo": "det_inspect.predictions.writers:YoloWriter",
    }
