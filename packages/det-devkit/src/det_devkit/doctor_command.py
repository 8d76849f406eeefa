"""`det plugins doctor`: what is wrong with the environment, and the command that mends it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click
from det_core.cli.output import echo
from det_core.plugins import Finding

__all__ = ["command"]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Say everything that is wrong with the environment, each with the command that mends it.

    Exits with 1 if there is a problem. Notes, such as a plugin that was switched off, are none.
    """
    if sys.stderr.isatty():
        echo("Looking at each plugin and at torch, in other processes ...", err=True)
    from det_devkit import doctor  # the help does not need it

    found = doctor.diagnose()
    if as_json:
        echo(json.dumps(asdict(found), indent=2))
    else:
        echo(", ".join(f"{name} {version}" for name, version in found.versions.items()))
        _show("Problems:", found.problems)
        _show("Notes:", found.notes)
        if not found.problems:
            echo("\nNothing is wrong. `det plugins --check` also imports everything that the plugins name.")
    if found.problems:
        raise SystemExit(1)


def _show(title: str, findings: Sequence[Finding]) -> None:
    """Each finding in a line, and below it what mends it: neither is wrapped, so that commands can be copied."""
    if findings:
        echo(f"\n{title}")
    for finding in findings:
        echo(f"  {finding.where}: {finding.problem}")
        if finding.fix:
            echo(f"    -> {finding.fix}")
