"""Export narrow versions of every architecture to every format, compare, and write the table of docs/export.md.

    python docs/export_support.py [--only NAME ...] [--pairs FORMAT:PRECISION:SIZES ...] [--again] [--page]

Each result is kept in docs/export_support.json as soon as it is there, and not made again; `--page` writes the table
of what there is. SIZES is dynamic or fixed. Pairs of one precision and one kind of sizes are traced once.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from det_core.errors import DetError
from det_core.plugins import registry
from det_core.structures import ImageBatch
from det_export.check import shipped
from det_export.obstacles import obstacle

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "packages" / "det-export" / "tests"))
import narrow_models  # noqa: E402

RESULTS = ROOT / "docs" / "export_support.json"
PAGE = ROOT / "docs" / "export.md"
START, END = "<!-- support: written by docs/export_support.py -->", "<!-- end of support -->"
PAIRS = ("torch_export:fp32:dynamic", "onnx:fp32:dynamic")


def run(name: str, trace: str, forms: Sequence[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Trace one architecture once, and write and compare it in each format; pairs of format and result."""
    precision, sizes = trace.split(":")
    if unexportable := obstacle(narrow_models.built(name)):
        problem = f"{unexportable.operator} {unexportable.reason}"
        yield from ((form, {"problem": problem, "operator": unexportable.operator, "seconds": 0}) for form in forms)
        return
    seed, size = narrow_models.seed_of(name), narrow_models.example_of(name)
    model, source, start = narrow_models.built(name, seed), None, time.monotonic()
    for form in forms:
        try:
            exporter = exporter_of(form, precision, sizes)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"model{exporter.suffixes[0]}"
                if source is None or (exporter.own_bf16 and precision == "bf16"):
                    example = ImageBatch(pixels=torch.zeros(1, 3, *size, dtype=torch.uint8), sizes=(size,))
                    exporter.export(model, example, path)
                else:
                    source.export_as(exporter, path)
                source = exporter
                compared_at = narrow_models.others_of(name) if sizes == "dynamic" else (size,)
                agreement = narrow_models.agreement_of(model, exporter.load(path), path, compared_at)
        except DetError as error:
            yield form, {"problem": f"{error.problem}; {error.found}"[:400], "seconds": _since(start)}
        except Exception as error:  # the table shows what failed, whatever it was
            yield form, {"problem": f"{type(error).__name__}: {error}"[:400], "seconds": _since(start)}
        else:
            facts = agreement.as_dict()
            facts["detections"] = [row.expected for row in agreement.rows]
            facts["problems"] = [row.problem[:300] for row in agreement.rows if row.problem]
            del facts["rows"]
            yield form, {**facts, "seed": seed, "seconds": _since(start)}
        start = time.monotonic()


def exporter_of(form: str, precision: str, sizes: str) -> Any:
    """The exporter of a format, with its options."""
    options: dict[str, Any] = {"dynamic": sizes == "dynamic"}
    if precision != "fp32":
        options["precision"] = precision
    if precision == "int8":
        options["calibrate"] = shipped()[0].parent
    exporter = registry.find("exporters", form, "export_support").load()(**options)
    exporter.trust = True
    return exporter


def _since(start: float) -> int:
    return round(time.monotonic() - start)


def _cell(result: dict[str, Any] | None, reasons: list[str]) -> str:
    if result is None:
        return "not run"
    if "problem" in result:
        return f"no ({_number(str(result['problem']), reasons)})"
    if result["agrees"]:
        return f"yes, {result['boxes']:.0e} px" if any(result["detections"]) else "yes"
    figures = f"boxes {result['boxes']:.1e} px, scores {result['scores']:.1e}, masks {result['masks']:.3f}"
    reason = f"{result['matched']:.0%} of detections matched, {figures}; {' '.join(result['problems'])}".strip("; ")
    return f"differs ({_number(reason, reasons)})"


def _number(reason: str, reasons: list[str]) -> int:
    if reason not in reasons:
        reasons.append(reason)
    return reasons.index(reason) + 1


def write_page(results: dict[str, dict[str, Any]]) -> None:
    """Put the table into docs/export.md."""
    reasons: list[str] = []
    pairs = list(dict.fromkeys([*PAIRS, *(key.partition(" / ")[2] for key in results)]))
    titles = [" ".join(pair.split(":")) for pair in pairs]
    lines = [f"| architecture | {' | '.join(titles)} |", f"| --- |{' --- |' * len(pairs)}"]
    for name in narrow_models.MODELS:
        cells = [_cell(results.get(f"{name} / {pair}"), reasons) for pair in pairs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *(f"{number}. {' '.join(reason.split())}" for number, reason in enumerate(reasons, 1))]
    text = PAGE.read_text("utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n" + "\n".join(lines).strip() + f"\n\n{END}{after}", "utf-8")


def _results() -> dict[str, dict[str, Any]]:
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}


def main() -> None:
    """Run what has no result yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(narrow_models.MODELS))
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    traces = dict.fromkeys(pair.partition(":")[2] for pair in arguments.pairs)
    for trace in [] if arguments.page else traces:
        for name in arguments.only:
            keys = {
                pair.partition(":")[0]: f"{name} / {pair}" for pair in arguments.pairs if pair.endswith(f":{trace}")
            }
            missing = [form for form, key in keys.items() if arguments.again or key not in _results()]
            for form, result in run(name, trace, missing):
                print(keys[form], result, flush=True)  # noqa: T201
                # Read again: another process may have written meanwhile.
                content = {**_results(), keys[form]: result}
                RESULTS.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
    write_page(_results())


if __name__ == "__main__":
    main()
