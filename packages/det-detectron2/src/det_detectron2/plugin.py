"""The components of det-detectron2 by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl


@hookimpl
def det_commands() -> dict[str, str]:
    """A subcommand of `det recipes`, and `det migrate`."""
    return {"recipes import": "det_detectron2.cli:command", "migrate": "det_detectron2.cli:migrate"}


@hookimpl
def det_importers() -> dict[str, str]:
    """Detectron2's configuration files."""
    return {"detectron2": "det_detectron2.importer.files:recipe_from_file"}
