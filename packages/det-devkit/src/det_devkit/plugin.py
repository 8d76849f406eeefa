"""The components of det-devkit by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl

# The kit was part of det-core 0.1.
MOVED_NAMES = {"det_core.testing": "det_devkit.conformance"}


@hookimpl
def det_commands() -> dict[str, str]:
    """The commands for new plugins and for problems of an environment."""
    return {"new-plugin": "det_devkit.new_plugin:command", "plugins doctor": "det_devkit.doctor_command:command"}
