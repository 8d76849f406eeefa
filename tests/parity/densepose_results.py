"""Conversions, samplers and evaluations of recorded operations of DensePose, under the names of the record."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

Arrays = dict[str, Any]
Noise = Callable[[str, int], np.ndarray]

SAMPLERS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "sigma_2": {"kind": "sigma_2"},
    "sigma_2_times3": {"kind": "sigma_2", "multiplier": 3},
    "fine_segm_confidence": {"kind": "fine_segm_confidence", "published_order": True},
}


class Inputs:
    """The inputs of the record; those that a rule stands for are made by it."""

    def __init__(self, recorded: Mapping[str, Any], noise: Noise) -> None:
        self.recorded, self.noise = recorded, noise
        self.rules, self.tag = json.loads(str(recorded["input/rules_json"])), str(recorded["input/tag"])

    def __getitem__(self, key: str) -> Any:
        return self.recorded[f"input/{key}"]

    def rule(self, name: str) -> np.ndarray:
        shape, factor, offset = self.rules[name]
        values = offset + factor * self.noise(f"{self.tag}/{name}", int(np.prod(shape)))
        return np.asarray(values, np.float32).reshape(shape)

    def fields(self, prefix: str) -> Arrays:
        return {key.removeprefix(prefix): self.rule(key) for key in self.rules if key.startswith(prefix)}

    def embeddings(self, name: str) -> np.ndarray:
        values = self.rule(name)
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6))


def bits(mask: np.ndarray) -> Arrays:
    return {"bits": np.packbits(mask), "size": np.array(mask.shape)}


def put(found: Arrays, prefix: str, values: Arrays) -> None:
    found.update({f"{prefix}{key}": value for key, value in values.items()})


def pasted(mask: np.ndarray, box: tuple[int, int, int, int], size: Any) -> np.ndarray:
    image = np.zeros(size, bool)
    x, y, width, height = box
    target = image[y : y + height, x : x + width]
    target[:] = mask[: target.shape[0], : target.shape[1]]
    return image


def conversions(recorded: Mapping[str, Any], noise: Noise) -> Arrays:
    from det_densepose.results.compressed import decompress
    from det_densepose.results.conversion import chart_result, vertex_result

    given, found = Inputs(recorded, noise), {}
    boxes, size = given["convert/boxes"], given["convert/image"]
    for channels in ("2", "15"):
        fields, masks = given.fields(f"convert{channels}/"), []
        for row, box in enumerate(boxes):
            result = chart_result({name: each[row] for name, each in fields.items()}, box)
            values = {"labels": result.labels, "uv": result.uv, "quantised": result.quantized, **result.confidences}
            values["quantised_u_v_sum"] = result.quantized[1:].sum((1, 2), dtype=np.int64)
            put(found, f"convert{channels}/{row}/", values)
            masks.append(pasted(result.mask, result.box, size))
        put(found, f"convert{channels}/masks/", bits(np.stack(masks)))
    fields, masks = given.fields("cse/"), []
    table = given.embeddings("mesh/bench_61/embeddings")
    for row, box in enumerate(boxes):
        vertices = vertex_result({name: each[row] for name, each in fields.items()}, box, table)
        found[f"cse/{row}/vertices"] = vertices.vertices
        put(found, f"cse/{row}/mask/", bits(vertices.mask))
        masks.append(pasted(vertices.mask, vertices.box, size))
    put(found, "cse/masks/", bits(np.stack(masks)))
    array = decompress(str(given["compressed/labels_uv_str"]))
    return {**found, "compressed/array": array, "compressed/shape_chw": np.array(array.shape)}


def rotations(recorded: Mapping[str, Any], noise: Noise) -> Arrays:
    from det_densepose.results.rotation import Rotation, undo_rotation

    given, found = Inputs(recorded, noise), {}
    values = torch.from_numpy(given.rule("rotate/map"))
    for key in recorded:
        if key.startswith("rotate/") and key.endswith("/matrix"):
            angle = key.split("/")[1]
            boxes = given[f"rotate/{angle}/boxes"]
            rotation = Rotation((140, 190), float(angle))
            made = {
                "bound_wh": np.array(rotation.bounds[::-1]),
                "matrix": rotation.matrix,
                "boxes_before": rotation.boxes_before(boxes.astype(int)),
                "undone": undo_rotation(values, torch.from_numpy(boxes), rotation).numpy(),
            }
            put(found, f"rotate/{angle}/", made)
    return found


def tables() -> Arrays:
    from det_densepose.bodies import symmetry
    from det_densepose.evaluation import similarity

    return {
        "tables/point_label_symmetries": np.array(symmetry.PART_SYMMETRY),
        "tables/mask_label_symmetries": np.array(symmetry.COARSE_SYMMETRY),
        "tables/fine_to_coarse": np.array(symmetry.COARSE_OF_PART),
        "tables/kappa_of_group": np.array(similarity.KAPPA_OF_GROUP),
        "tables/group_of_part": np.array(similarity.GROUP_OF_PART),
    }


def samplers(recorded: Mapping[str, Any], noise: Noise) -> Arrays:
    from det_densepose.bootstrap.samplers import PointSampler, coarse_labels, sampled_points
    from det_densepose.results.conversion import chart_result, vertex_result

    given, found = Inputs(recorded, noise), {}
    fields = given.fields("boot/")
    table = given.embeddings("mesh/bench_61/embeddings")

    def covered(candidates: Mapping[int, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        mask = np.zeros(shape, bool)
        for pixels in candidates.values():
            mask[tuple(pixels.T)] = True
        return mask

    for row, box in enumerate(given["boot/boxes"]):
        own = {name: each[row] for name, each in fields.items()}
        charts = chart_result({name: v for name, v in own.items() if name not in ("embedding", "cse_coarse")}, box)
        found[f"boot/{row}/coarse_256_every_4th"] = coarse_labels(own)[::4, ::4]
        for name, arguments in SAMPLERS.items():
            sampler = PointSampler(**arguments)
            candidates, prefix = sampler.candidates(charts), f"boot/{name}/{row}/"
            put(found, f"{prefix}candidates/", bits(covered(candidates, charts.labels.shape)))
            counts = np.zeros(25, int)
            for part, pixels in sampler.draw(charts, np.random.default_rng(0)).items():
                counts[part] = len(pixels)
            found[f"{prefix}drawn_per_part"] = counts
            if name == "uniform":
                points = sampled_points(charts, candidates)
                for key in "xyUV":
                    found[f"{prefix}first_{key.lower()}"] = np.array(points[f"dp_{key}"][:64], np.float32)
        renamed = {"coarse_segm": own["cse_coarse"], "coarse_segm_confidence": own["cse_confidence"]}
        vertices = vertex_result({"embedding": own["embedding"], **renamed}, box, table)
        for name, kind in (("cse_uniform", "uniform"), ("cse_confidence", "coarse_segm_confidence")):
            mask = covered(PointSampler(kind).candidates(vertices), vertices.mask.shape)
            put(found, f"boot/{name}/{row}/candidates/", bits(mask))
            found[f"boot/{name}/{row}/vertices"] = np.where(mask, vertices.vertices, 255).astype(np.uint8)
    return found


def mirrored(recorded: Mapping[str, Any], noise: Noise, uv: tuple[np.ndarray, np.ndarray]) -> Arrays:
    """Mirrored points, vertices and raw outputs; `uv` are the published tables, 0 to 255 as they are stored."""
    from det_densepose.data.mirror import mirror_coarse, mirror_labels
    from det_densepose.results.mirroring import mirror_raw

    given, found = Inputs(recorded, noise), {}
    both = (torch.from_numpy(uv[0]), torch.from_numpy(uv[1]))
    part = torch.from_numpy(given["mirror/i"]).long()
    part, u, v = mirror_labels(part, *(torch.from_numpy(given[f"mirror/{key}"]) for key in "uv"), both)
    found |= {"mirror/x": 256 - given["mirror/x"], "mirror/y": given["mirror/y"], "mirror/i": part, "mirror/u": u}
    found |= {"mirror/v": v, "mirror/vertex": 60 - given["mirror/vertex"]}
    y, x = np.mgrid[:256, :256]
    found["mirror/segm"] = mirror_coarse(torch.from_numpy(((y // 48) * 5 + x // 64 + 3) % 15).flip(1).byte())
    for channels in ("2", "15"):
        fields = {name: torch.from_numpy(each) for name, each in given.fields(f"flip{channels}/").items()}
        put(found, f"mirror_raw{channels}/", mirror_raw(fields, both, confidences_of_parts=False))
    return found


def alignment(recorded: Mapping[str, Any], noise: Noise) -> Arrays:
    from det_densepose.bodies.body import MatrixDistances, PackedDistances
    from det_densepose.evaluation.alignment import mesh_alignment

    given = Inputs(recorded, noise)
    keys = json.loads(str(given["alignment/keyvertices_json"]))
    places = {name: given.rule(f"mesh/{name}/position") for name in keys}
    distances = {n: MatrixDistances(np.linalg.norm(p[:, None] - p[None], axis=-1)) for n, p in places.items()}
    values = mesh_alignment({name: given.embeddings(f"mesh/{name}/embeddings") for name in keys}, keys, distances)
    first, second = given["packed/pairs"].T
    found: Arrays = {f"alignment/{key}": np.float64(value) for key, value in values.items()}
    return {**found, "packed/index": PackedDistances.index(first, second)}


def evaluations(recorded: Mapping[str, Any], noise: Noise, number: int) -> Arrays:
    return _Evaluation(recorded, noise, number).everything()


class _Evaluation:
    """One of the three recorded datasets."""

    def __init__(self, recorded: Mapping[str, Any], noise: Noise, number: int) -> None:
        from det_densepose.bodies.body import Charts, MatrixDistances

        self.given, self.number = Inputs(recorded, noise), number
        self.truth = json.loads(str(self.given[f"eval{number}/truth_json"]))
        self.detections = json.loads(str(self.given[f"eval{number}/detections_json"]))
        self.categories = [each["id"] for each in self.truth["categories"]]
        self.sizes = {each["id"]: (each["height"], each["width"]) for each in self.truth["images"]}
        uv = np.stack((self.given["body/u"], self.given["body/v"]), 1)
        self.charts = Charts(self.given["body/index"].astype(int) - 1, self.given["body/part"], uv)
        person, animal = self.given["body/position"], self.given["eval/animal/position"]
        places = {"": person, "smpl_27554": person, "bench_61": animal}
        self.distances = {n: MatrixDistances(np.linalg.norm(p[:, None] - p[None], axis=-1)) for n, p in places.items()}

    def objects(self) -> Any:
        """The true objects of each image, and their ids."""
        from det_densepose.evaluation.image import GroundTruthObject
        from det_densepose.evaluation.regions import gt_mask_rle

        found: dict[int, list[Any]] = {number: [] for number in self.sizes}
        ids: dict[int, list[int]] = {number: [] for number in self.sizes}
        for each in self.truth["annotations"]:
            size, box, rle = self.sizes[each["image_id"]], tuple(each["bbox"]), None
            if "dp_masks" in each:
                union = np.any([coco_mask.decode(mask) > 0 for mask in each["dp_masks"] if mask], axis=0)
                rle = gt_mask_rle(union, box, size)  # type: ignore[arg-type]
            elif "segmentation" in each:
                rle = coco_mask.merge(coco_mask.frPyObjects(each["segmentation"], *size))
            label, crowd = self.categories.index(each["category_id"]), bool(each["iscrowd"])
            made = GroundTruthObject(label, box, each["area"], crowd, self.points(each), rle)  # type: ignore[arg-type]
            found[each["image_id"]].append(made)
            ids[each["image_id"]].append(each["id"])
        return found, ids

    def points(self, each: Mapping[str, Any]) -> Any:
        from det_densepose.evaluation import similarity as s

        if "dp_x" not in each:
            return None
        grid, box = np.stack((each["dp_x"], each["dp_y"]), 1), tuple(each["bbox"])
        kappas = np.array(s.KAPPA_OF_GROUP)[np.array(s.GROUP_OF_PART)[np.array(each.get("dp_I", [0] * len(grid)))]]
        if "dp_vertex" not in each:
            vertex = self.charts.nearest(np.array(each["dp_I"]), np.array(each["dp_U"]), np.array(each["dp_V"]))
            return s.GroundTruthPoints(grid, box, vertex, kappas)  # type: ignore[arg-type]
        by_part = each["ref_model"] == "smpl_27554" and "dp_I" in each
        kappa = kappas if by_part else np.full(len(grid), s.MESH_KAPPA)
        return s.GroundTruthPoints(grid, box, np.array(each["dp_vertex"]), kappa, each["ref_model"])  # type: ignore[arg-type]

    def found(self) -> Any:
        """The detections of each image, and their ids."""
        from det_densepose.evaluation.image import DetectedObject
        from det_densepose.evaluation.regions import pasted_rle

        found: dict[int, list[Any]] = {number: [] for number in self.sizes}
        ids: dict[int, list[int]] = {number: [] for number in self.sizes}
        start = 0
        for row, each in enumerate(self.detections):
            box = tuple(each["bbox"])
            mask, reader, start = self.reader(row, box, start)
            rle = pasted_rle(mask, box, self.sizes[each["image_id"]])  # type: ignore[arg-type]
            label, quantized = self.categories.index(each["category_id"]), self.number < 2
            made = DetectedObject(label, box, each["score"], reader, mask, rle, quantized)  # type: ignore[arg-type]
            found[each["image_id"]].append(made)
            ids[each["image_id"]].append(row + 1)
        return found, ids

    def reader(self, row: int, box: Any, start: int) -> Any:
        from det_densepose.evaluation.similarity import ChartReader, VertexReader
        from det_densepose.results.conversion import channels_at, foreground, nearest_vertices

        name = f"eval{self.number}"
        if self.number < 2:
            height, width = self.given[f"{name}/iuv_sizes"][row]
            stop = start + 3 * height * width
            values = self.given[f"{name}/iuv"][start:stop].reshape(3, height, width)
            return values[0] > 0, ChartReader(values, self.charts), stop
        embedding = self.given[f"{name}/embedding"][row].astype(np.float32)
        size = (int(box[3]), int(box[2]))
        mask = foreground(self.given[f"{name}/coarse_segm"][row].astype(np.float32), size)

        def look(ys: np.ndarray, xs: np.ndarray, mesh: str) -> np.ndarray:
            table = self.given.embeddings(f"eval/embeddings/{mesh}")
            return np.where(mask[ys, xs], nearest_vertices(channels_at(embedding, size, ys, xs), table), -1)

        return mask, VertexReader(look), start

    def regions(self) -> dict[int, np.ndarray]:
        found = {}
        for each in self.truth["images"]:
            if each.get("ignore_regions_x"):
                pairs = zip(each["ignore_regions_x"], each["ignore_regions_y"], strict=True)
                rings = [np.stack(pair, 1).ravel().astype(float).tolist() for pair in pairs]
                merged = coco_mask.merge(coco_mask.frPyObjects(rings, *self.sizes[each["id"]]))
                found[each["id"]] = coco_mask.decode(merged) > 0
        return found

    def everything(self) -> Arrays:
        from det_densepose.evaluation.image import kept_objects, score_image

        (truth, truth_ids), (detections, detection_ids), regions = self.objects(), self.found(), self.regions()
        images, got = {}, {}
        kept_truth: list[int] = []
        kept: list[int] = []
        for number in self.sizes:
            own = truth[number], detections[number], regions.get(number)
            images[number] = score_image(*own, self.distances.__getitem__)
            rows, columns = kept_objects(*own)
            kept_truth += [truth_ids[number][row] for row in rows]
            kept += [detection_ids[number][row] for row in columns]
            for label, scored in images[number].items():
                ids = [truth_ids[number][row] for row in rows if truth[number][row].label == label]
                put(got, "", self.of_image(f"{number}_{self.categories[label]}", scored, ids))
        got |= {"kept_truth": np.sort(kept_truth), "kept_detections": np.sort(kept)}
        put(got, "", self.figures(list(images.values())))
        return {f"eval{self.number}/{key}": value for key, value in got.items()}

    def of_image(self, name: str, scored: Any, ids: list[int]) -> Arrays:
        from det_densepose.evaluation.matching import AREAS, match, thresholds_from

        values = scored.similarities
        found = {f"matrix/{name}/gps": values["gps"], f"matrix/{name}/mask_iou": values["segm"]}
        found[f"matrix/{name}/box_iou"] = scored.box_iou
        for kind, recorded in (("gps", "gps"), ("gpsm", "gpsm"), ("segm", "iou")):
            for areas in AREAS.values():
                made = match(scored, kind, areas, thresholds_from(0.5))
                matched = np.where(made.matched > 0, np.array([*ids, 0])[made.matched - 1], 0)
                prefix = f"{recorded}/match/{name}_{int(areas[0])}/"
                found |= {f"{prefix}dt_matches": matched, f"{prefix}dt_ignore": made.ignored.astype(np.uint8)}
        return found

    def figures(self, images: list[Any]) -> Arrays:
        from det_densepose.evaluation.matching import averages, curves, thresholds_from

        found: Arrays = {}
        for kind, recorded in (("gps", "gps"), ("gpsm", "gpsm"), ("segm", "iou")):
            for suffix, least in (("", 0.5), ("_from_0.2", 0.2)):
                made = curves(images, len(self.categories), kind, thresholds_from(least))
                values = [(key, -0.01 if value is None else value) for key, value in averages(made).items()]
                prefix = f"{recorded}{suffix}/"
                found |= {f"{prefix}precision": made.precision[..., None], f"{prefix}recall": made.recall[..., None]}
                found[f"{prefix}stats"] = np.array([max(value, -1) for _, value in values])
                found |= {f"{prefix}{key}": np.float64(value * 100) for key, value in values}
                for label, category in enumerate(self.truth["categories"]):
                    own = made.precision[:, :, label, 0]
                    found[f"{prefix}AP-{category['name']}"] = np.float64(own[own > -1].mean() * 100)
        return found
