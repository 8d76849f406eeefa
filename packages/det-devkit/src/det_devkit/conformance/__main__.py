"""`python -m det_devkit.conformance det-acme`: the kit without pytest; exits with 1 if a check fails."""

import sys

from det_core.errors import DetError

from det_devkit.conformance import check_plugin


def main(arguments: list[str]) -> int:
    """Print the results of the checks of the named plugins; `--slow` includes slow checks."""
    plugins = [argument for argument in arguments if argument != "--slow"]
    if not plugins:
        sys.stderr.write("usage: python -m det_devkit.conformance PLUGIN... [--slow]\n")
        return 2
    try:
        reports = [check_plugin(plugin, slow="--slow" in arguments) for plugin in plugins]
    except DetError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("\n\n".join(map(str, reports)) + "\n")
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
