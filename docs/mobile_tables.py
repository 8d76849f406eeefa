"""The tables of docs/mobile.md, from the files of benchmarks/results; see include.py."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
METRICS = ("bbox/AP", "bbox/AP50", "bbox/AP75")
FORMATS = {"onnx": "onnxruntime", "aoti": "AOTInductor", "executorch": "ExecuTorch"}
Content = Mapping[str, Any]


def table(name: str) -> str:
    """The table of that name, or a line where there are no results."""
    file, make = _TABLES[name]
    path = RESULTS / f"{file}.json"
    lines = make(json.loads(path.read_text("utf-8"))) if path.exists() else []
    return "\n".join(["", *(lines or ["Not measured yet."]), "", ""])


def _rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first column is text and whose others are numbers; none without rows."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines] if rows else []


def _percent(metrics: Content | None) -> list[str]:
    return [f"{100 * metrics[name]:.1f}" if metrics else "" for name in METRICS]


def _trained(content: Content) -> list[str]:
    """AP of the trained models and of their files."""
    rows = []
    for recipe, row in content.items():
        cells = {("model" if name == "costs" else name): cell for name, cell in row["cells"].items()}
        for name, cell in cells.items():
            if "test" in cell:
                rows.append([f"`{recipe}`, {_label(name)}", *_percent(cell["test"])])
    return _rows(["", "AP", "AP50", "AP75"], rows)


def _label(cell: str) -> str:
    form, _, precision = cell.partition("-")
    return f"{FORMATS[form]} {'float' if precision == 'fp32' else precision}" if precision else cell


def _costs(content: Content) -> list[str]:
    """Parameters, operations and published AP."""
    rows = []
    for recipe, row in content.items():
        cell = row["cells"].get("costs", {})
        if "parameters" in cell:
            published = cell["published"]
            figures = [f"{published[name]:.1f}" if name in published else "" for name in ("box AP", "mask AP")]
            size = "{} x {}".format(*row["size"])
            rows.append([f"`{recipe}`", size, f"{cell['parameters'] / 1e6:.2f}", f"{cell['macs'] / 1e9:.2f}", *figures])
    return _rows(["recipe", "size", "M parameters", "GMACs", "published box AP", "mask AP"], rows)


def _runtimes(content: Content) -> list[str]:
    """Sizes of files, latencies beside eager, and agreement."""
    rows = []
    for recipe, row in content.items():
        times = [row["milliseconds"].get(threads, {}) for threads in ("1", "2")]
        names = [name for name in ("eager", *(f for f in row["cells"] if f != "costs")) if _measured(name, row)]
        for name in names if names != ["eager"] else []:
            cell = row["cells"].get(name, {})
            label = "eager float" if name == "eager" else _label(name)
            if "error" in cell:
                rows.append([f"`{recipe}`, {label}", *["fails"] * 6])
                continue
            fast = [f"{each[name]:.0f}" if name in each else "" for each in times]
            ratio = f"{times[0]['eager'] / times[0][name]:.1f}" if name in times[0] and name != "eager" else ""
            share = _share(name, row["cells"])
            size = f"{cell['megabytes']:.1f}" if cell else ""
            matched = f"{cell['matched']:.0%}" if "test" in cell else ""
            rows.append([f"`{recipe}`, {label}", *fast, ratio, size, share, matched])
    return _rows(["", "ms, 1 thread", "2 threads", "times eager", "MB", "of float", "matched"], rows)


def _measured(name: str, row: Content) -> bool:
    return name in row["cells"] or any(name in each for each in row["milliseconds"].values())


def _share(name: str, cells: Content) -> str:
    """The size of an int8 file, as a share of that in float."""
    other = cells.get(name.replace("int8", "fp32"), {})
    size = cells.get(name, {}).get("megabytes")
    return f"{size / other['megabytes']:.2f}" if "int8" in name and size and "megabytes" in other else ""


def _distillation(content: Content) -> list[str]:
    """Mean and standard deviation over seeds."""
    rows = []
    for kind, seeds in content["rows"].items():
        if not seeds:
            continue
        cells = []
        for name in METRICS:
            values = [100 * each[name] for each in seeds.values()]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        seconds = statistics.mean(each["seconds"] for each in seeds.values())
        label = {"alone": "student alone", "taught": "student with the teacher"}.get(kind, kind)
        rows.append([label, str(len(seeds)) if kind != "teacher" else "", *cells, f"{seconds:.0f}"])
    return _rows(["", "seeds", "AP", "AP50", "AP75", "seconds of training"], rows)


def _rounding(content: Content) -> list[str]:
    """AP in float and with rounding, before and after further training."""
    rows = []
    measured = [forms for each in content.values() for forms in each["rows"].values()]
    columns = [form for form in _FORMS if any(form in forms for forms in measured)]
    for name, each in content.items():
        for kind, forms in each["rows"].items():
            label = kind if kind == "trained" else f"{each['steps']} {kind}"
            cells = [f"{100 * forms[form]['bbox/AP']:.1f}" if form in forms else "" for form in columns]
            rows.append([f"`{name}`, {label}", *cells])
    return _rows(["AP", *(_FORMS[form] for form in columns)], rows)


_FORMS = {"float": "in float", "rounded": "rounded", "file": "int8 file of onnx"}
_TABLES: dict[str, tuple[str, Callable[[Content], list[str]]]] = {
    "trained": ("mobile_table", _trained),
    "costs": ("mobile_table", _costs),
    "runtimes": ("mobile_table", _runtimes),
    "distillation": ("distillation", _distillation),
    "rounding": ("quantization_aware", _rounding),
}
