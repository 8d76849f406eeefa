"""Export narrow versions of every architecture to every format, compare, and write the table of docs/export.md.

    python docs/export_support.py [--only NAME ...] [--formats NAME ...] [--again]

Each pair is kept in benchmarks/results/export_support.json as soon as it is done, and not run again.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import torch
from det_core import recipes
from det_core.errors import DetError
from det_core.models.cpu import accelerate
from det_core.plugins import registry
from det_core.structures import ImageBatch
from det_export.check import compare, shipped, sizes_for

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "export_support.json"
PAGE = ROOT / "docs" / "export.md"
START, END = "<!-- support: written by docs/export_support.py -->", "<!-- end of support -->"
EXAMPLE = (288, 352)
FORMATS = ("torch_export", "onnx")
NARROW = ("model.backbone.bottom_up.res2_channels=16", "model.backbone.bottom_up.stem_channels=8")
LOW = "model.head.nms.score_threshold=0.005"
# Architecture: recipe, and what makes it narrow, and its random weights find something.
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Faster R-CNN FPN": ("faster_rcnn_r50_fpn_1x", NARROW),
    "Mask R-CNN FPN": ("mask_rcnn_r50_fpn_1x", NARROW),
    "Keypoint R-CNN FPN": ("keypoint_rcnn_r50_fpn_1x", NARROW),
    "Cascade Mask R-CNN FPN": ("cascade_mask_rcnn_r50_fpn_1x", NARROW),
    "Mask R-CNN C4": ("mask_rcnn_r50_c4_1x", ()),
    "Mask R-CNN DC5": ("mask_rcnn_r50_dc5_1x", ()),
    "RetinaNet": ("retinanet_r50_fpn_1x", (*NARROW, LOW)),
    "FCOS": ("fcos_r50_fpn_1x", (*NARROW, LOW)),
    "Rotated Faster R-CNN": ("rotated_faster_rcnn_r50_fpn_3x", NARROW),
    "Semantic FPN": ("semantic_r50_fpn_1x", NARROW),
    "Panoptic FPN": ("panoptic_fpn_r50_1x", NARROW),
    "PointRend": ("pointrend_rcnn_r50_fpn_1x_coco", NARROW),
    "TensorMask": ("tensormask_r50_fpn_1x", (NARROW[0],)),
    "TridentNet": ("tridentnet_fast_r50_c4_1x", ()),
    "ViTDet": ("mask_rcnn_vitdet_b_100ep", ()),
}


def run(name: str, form: str) -> dict[str, object]:
    """Export one architecture to one format and compare; {"agrees", ...} or {"problem"}."""
    recipe, overrides = MODELS[name]
    start = time.monotonic()
    try:
        torch.manual_seed(0)
        model = accelerate(recipes.load(recipe, overrides).build_model().eval(), on=False)
        exporter = registry.find("exporters", form, "export_support").load()()
        example = ImageBatch(pixels=torch.zeros(1, 3, *EXAMPLE, dtype=torch.uint8), sizes=(EXAMPLE,))
        with tempfile.TemporaryDirectory() as folder:
            path = exporter.export(model, example, Path(folder) / f"model{exporter.suffixes[0]}")
            loaded = exporter.load(path)
            agreement = compare(model, loaded, shipped()[:1], sizes_for(loaded, EXAMPLE), path)
    except DetError as error:
        cause = str(error.__cause__ or "")
        places = [line.strip() for line in cause.splitlines() if "det_" in line and "line " in line]
        return {"problem": f"{error.problem}; {error.found}"[:400], "at": places[-1:], "seconds": _since(start)}
    except Exception as error:  # the table shows what failed, whatever it was
        return {"problem": f"{type(error).__name__}: {error}"[:400], "seconds": _since(start)}
    facts = agreement.as_dict()
    facts["detections"] = [row.expected for row in agreement.rows]
    del facts["rows"]
    return {**facts, "seconds": _since(start)}


def _since(start: float) -> int:
    return round(time.monotonic() - start)


def _cell(result: dict[str, object] | None, reasons: list[str]) -> str:
    if result is None:
        return "not run"
    if "problem" in result:
        reasons.append(str(result["problem"]))
        return f"no ({len(reasons)})"
    if not result["agrees"]:
        found = f"differs: {float(str(result['matched'])):.0%} of detections matched"
        reasons.append(f"{found}, boxes {float(str(result['boxes'])):.1e} px, masks {float(str(result['masks'])):.3f}")
        return f"differs ({len(reasons)})"
    return f"yes, {float(str(result['boxes'])):.0e} px"


def write_page(results: dict[str, dict[str, object]]) -> None:
    """Put the table into docs/export.md."""
    reasons: list[str] = []
    lines = [f"| architecture | {' | '.join(FORMATS)} |", f"| --- |{' --- |' * len(FORMATS)}"]
    for name in MODELS:
        cells = [_cell(results.get(f"{name} / {form}"), reasons) for form in FORMATS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *(f"{number}. {' '.join(reason.split())}" for number, reason in enumerate(reasons, 1))]
    text = PAGE.read_text("utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n" + "\n".join(lines).strip() + f"\n\n{END}{after}", "utf-8")


def main() -> None:
    """Run what has no result yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(MODELS))
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for form in arguments.formats:
        for name in arguments.only:
            pair = f"{name} / {form}"
            if pair not in results or arguments.again:
                results[pair] = run(name, form)
                print(pair, results[pair], flush=True)  # noqa: T201
                RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    write_page(results)


if __name__ == "__main__":
    main()
