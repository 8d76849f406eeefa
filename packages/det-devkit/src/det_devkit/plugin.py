"""What det-devkit adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl


@hookimpl
def det_commands() -> dict[str, str]:
    """The command that writes a plugin."""
    return {"new-plugin": "det_devkit.new_plugin:command"}
