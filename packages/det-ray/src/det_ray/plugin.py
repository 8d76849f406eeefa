"""The commands and the writer of det-ray by name; their modules, and Ray, are imported on first use."""

from det_core.plugins.hooks import hookimpl


@hookimpl
def det_commands() -> dict[str, str]:
    """Prediction and evaluation on a cluster."""
    return {
        "ray": "det_ray.cli.group:command",
        "ray predict": "det_ray.cli.predict:command",
        "ray eval": "det_ray.cli.evaluate:command",
    }


@hookimpl
def det_writers() -> dict[str, str]:
    """The Parquet files of `det ray predict` for `det predict`."""
    return {"parquet": "det_ray.writers:ParquetWriter"}
