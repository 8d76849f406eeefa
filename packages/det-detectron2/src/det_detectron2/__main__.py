"""Run a program that imports Detectron2 on det: `python -m det_detectron2 SCRIPT.py ARGS...` or `-m MODULE ARGS...`."""

import runpy
import sys
import types
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
    as_module = arguments[0] == "-m"
    program = arguments[1] if as_module else arguments[0]
    if not as_module and not Path(program).is_file():
        sys.stderr.write(f"{program}: there is no such program\n{_USAGE}\n")
        raise SystemExit(2)
    import det_detectron2.as_detectron2  # noqa: F401 (puts the layer in)

    if as_module:
        sys.argv = arguments[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(program).resolve().parent))
        # As Python starts a program: its file is absolute, its first argument as given, which runpy makes the same.
        path = str(Path(program).absolute())
        main_module = types.ModuleType("__main__")
        main_module.__file__ = path
        sys.modules["__main__"] = main_module
        exec(compile(Path(program).read_bytes(), path, "exec"), vars(main_module))


if __name__ == "__main__":
    main()
