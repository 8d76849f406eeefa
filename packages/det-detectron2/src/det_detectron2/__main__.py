"""Run a program that imports Detectron2 on det: `python -m det_detectron2 SCRIPT.py ARGS...` or `-m MODULE ARGS...`."""

import runpy
import sys
from pathlib import Path

_USAGE = (
    "usage: python -m det_detectron2 SCRIPT.py ARGS...   or   python -m det_detectron2 -m MODULE ARGS...\n"
    "       python -m det_detectron2 migrate PATH [--check]"
)


def main() -> None:
    """Put the layer in and run the program as Python would."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        sys.stdout.write(f"{_USAGE}\n\nRuns a program that imports detectron2, which then stands for det's layer.\n")
        raise SystemExit(0 if arguments and arguments[0] in ("-h", "--help") else 2)
    if arguments[0] == "migrate" and not Path("migrate").is_file():
        from det_detectron2.cli import migrate

        migrate(arguments[1:], prog_name="python -m det_detectron2 migrate")
    module = arguments[0] == "-m"
    program = arguments[1] if module else arguments[0]
    if not module and not Path(program).is_file():
        sys.stderr.write(f"{program}: there is no such program\n{_USAGE}\n")
        raise SystemExit(2)
    import det_detectron2.as_detectron2  # noqa: F401 (puts the layer in)

    if module:
        sys.argv = arguments[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(program).resolve().parent))
        runpy.run_path(str(Path(program).absolute()), run_name="__main__")  # __file__ is absolute, as for Python


if __name__ == "__main__":
    main()
