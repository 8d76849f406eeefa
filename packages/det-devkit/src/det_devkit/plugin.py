"""What det-devkit adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl

# The kit was part of det-core 0.1.
MOVED_NAMES = {"det_core.testing": "det_devkit.conformance"}


@hookimpl
def det_commands() -> dict[str, str]:
    """The commands that write a plugin, and that say what is wrong with an environment."""
    return {"new-plugin": "det_devkit.new_plugin:command", "plugins doctor": "det_devkit.doctor_command:command"}
