"""The commands and writers of det-video by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl

_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")


@hookimpl
def det_commands() -> dict[str, str]:
    """Predictions of videos, and metrics of tracks."""
    return {
        **{f"predict {suffix}": "det_video.cli.predict:command" for suffix in _SUFFIXES},
        "video": "det_video.cli.group:command",
        "video predict": "det_video.cli.predict:command",
        "video eval": "det_video.cli.evaluate:command",
    }


@hookimpl
def det_writers() -> dict[str, str]:
    """Results as a film, and as tracks."""
    return {
        "mot": "det_video.writers:MotWriter",
        "mp4": "det_video.writers:FilmWriter",
    }
