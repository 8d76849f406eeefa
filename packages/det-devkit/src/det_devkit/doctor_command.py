"""`det plugins doctor`: problems of the environment, each with a fix."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click
from det_core.cli.output import echo
from det_core.plugins import Issue

__all__ = ["command"]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Report all problems of the environment, each with a command that fixes it.

    Exits with 1 if there is a problem. Notes, such as a disabled plugin, are none.
    """
    if sys.stderr.isatty():
        echo("Checking each plugin and torch, in other processes ...", err=True)
    from det_devkit import doctor  # the help does not need it

    report = doctor.check_environment()
    if as_json:
        echo(json.dumps(asdict(report), indent=2))
    else:
        echo(", ".join(f"{name} {version}" for name, version in report.versions.items()))
        _show("Problems:", report.problems)
        _show("Notes:", report.notes)
        if not report.problems:
            echo("\nNo problems. `det plugins --check` also imports all components of the plugins.")
    if report.problems:
        raise SystemExit(1)


def _show(title: str, findings: Sequence[Issue]) -> None:
    """Each finding in a line, and its fix below: neither is wrapped, so that commands can be copied."""
    if findings:
        echo(f"\n{title}")
    for finding in findings:
        echo(f"  {finding.where}: {finding.problem}")
        if finding.fix:
            echo(f"    -> {finding.fix}")
