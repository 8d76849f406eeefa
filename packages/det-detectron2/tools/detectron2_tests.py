"""Detectron2's own tests on the layer: runs those of a checkout, and writes the table of docs/detectron2.md.

    python packages/det-detectron2/tools/detectron2_tests.py CHECKOUT [MODULE ...]

CHECKOUT is a folder with `tests` of Detectron2. Results are kept as JUnit files in it, in the folder `junit`; named
modules are run again, and without a name those without results. Nothing of the checkout becomes part of this project.
The reason of each test that does not pass is in detectron2_tests.json, by module and pattern of its name; exit code 1
if one has none. Tests that skip themselves, without a GPU or the images of COCO, are not counted as run.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs/detectron2.md"
START, END = "<!-- table: tests of Detectron2 -->\n", "<!-- end of table -->\n"


def run(checkout: Path, modules: list[str]) -> None:
    """Run the tests of modules, such as "structures/test_boxes.py", on the layer, in one process."""
    folder = checkout / "junit"
    folder.mkdir(exist_ok=True)
    last = max((int(file.stem) for file in folder.glob("*.xml")), default=0)
    results = folder / f"{last + 1:04}.xml"
    options = ("-q", "--tb=short", "--continue-on-collection-errors", "-p", "no:cacheprovider", "-p", "no:warnings")
    layer = ("-p", "det_detectron2.as_detectron2", f"--junitxml={results}")
    command = [sys.executable, "-m", "pytest", *options, *layer, *(f"tests/{module}" for module in modules)]
    subprocess.run(command, cwd=checkout, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)


def outcomes(checkout: Path) -> dict[str, dict[str, str]]:
    """For each module the newest outcome of each test: "passed", "failed" or "skipped"."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted((checkout / "junit").glob("*.xml")):
        newest: dict[str, dict[str, str]] = {}
        for case in ElementTree.parse(file).iter("testcase"):
            parts = (case.get("classname") or case.get("name", "")).split(".")
            place = next(i for i, part in enumerate(parts) if part.startswith("test_"))
            module = "/".join(parts[1 : place + 1]) + ".py"
            kinds = {child.tag for child in case}
            outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            newest.setdefault(module, {})[".".join((*parts[place + 1 :], case.get("name", "")))] = outcome
        found |= newest
    return found


def table(found: dict[str, dict[str, str]]) -> tuple[str, list[str]]:
    """The table, and the tests that do not pass and have no reason."""
    known = json.loads((HERE / "detectron2_tests.json").read_text("utf-8"))
    counted, further, unknown = [], [], []
    sums: Counter[str] = Counter()
    for module, cases in sorted(found.items()):
        reasons: Counter[str] = Counter()
        for name, outcome in cases.items():
            if outcome != "passed":
                patterns = known["reasons"].get(module, {}).items()
                matches = [text for pattern, text in patterns if fnmatchcase(name.rpartition(".")[2], pattern)]
                unknown += [] if matches else [f"{module}::{name} ({outcome})"]
                reasons[matches[0] if matches else "unknown"] += 1
        passed = sum(outcome == "passed" for outcome in cases.values())
        notes = "; ".join(f"{count}: {text}" for text, count in reasons.items())
        row = f"| `{module}` | {len(cases)} | {passed} | {notes} |"
        if module.startswith(tuple(known["counted"])):
            counted.append(row)
            sums.update(tests=sum(outcome != "skipped" for outcome in cases.values()), passed=passed)
        else:
            further.append(row)
    share = sums["passed"] / max(sums["tests"], 1)
    total = f"| together, of those that run here | {sums['tests']} | {sums['passed']} ({share:.0%}) | |"
    head = ["| module of `tests/` | tests | pass | the others |", "| --- | --- | --- | --- |"]
    return "\n".join((*head, *counted, total, *further)) + "\n", unknown


def main(checkout: Path, modules: list[str]) -> int:
    """Run, write the table, and list tests without a reason."""
    every = sorted(str(file.relative_to(checkout / "tests")) for file in (checkout / "tests").rglob("test_*.py"))
    done = outcomes(checkout) if not modules else {}
    if wanted := modules or [each for each in every if each not in done]:
        run(checkout, wanted)
    written, unknown = table(outcomes(checkout))
    before, rest = PAGE.read_text("utf-8").split(START)
    PAGE.write_text(f"{before}{START}\n{written}\n{END}{rest.split(END)[1]}", "utf-8")
    sys.stdout.write(written + "".join(f"no reason: {each}\n" for each in unknown))
    return int(bool(unknown))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
