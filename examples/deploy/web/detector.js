// A file of `det export --format onnx` in onnxruntime-web: its metadata, its inputs, and objects from its outputs.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { charts, keypoints, mask, prepared, rgb, semantic } from "./arrays.js";

const HEATMAPS = "detections.det-core/keypoint_heatmaps";
const POSE = "detections.det-densepose/";
const CHARTS = ["coarse_segm", "fine_segm", "u", "v"];
const DRAWN = new Set(["boxes", "scores", "labels", "counts", "masks", "semantic", HEATMAPS]);
CHARTS.forEach((name) => DRAWN.add(POSE + name));
const METADATA = 14; // the field `metadata_props` of ONNX's ModelProto: pairs of key (1) and value (2)

// The fields of a protobuf message that have bytes, as [number, bytes]; others are skipped.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1, byte;
    do {
      if (at >= bytes.length || factor > 2 ** 49) throw new Error("is no ONNX file, or one that is damaged");
      byte = bytes[at++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const tag = varint(), kind = tag % 8;
    if (kind === 0) while (bytes[at++] & 128);
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new Error("is no ONNX file, or one that is damaged");
      yield [Math.floor(tag / 8), bytes.subarray(at, (at += length))];
    } else throw new Error("is no ONNX file, or one that is damaged");
  }
}

// What det writes into a file about it; an Error where there is nothing, or where this page cannot run the file.
export function factsOf(bytes) {
  const text = (part) => new TextDecoder().decode(part);
  for (const [number, entry] of fields(bytes)) {
    if (number !== METADATA) continue;
    const pair = Object.fromEntries([...fields(entry)]);
    if (text(pair[1] || []) !== "det") continue;
    const facts = JSON.parse(text(pair[2]));
    const problems = [];
    if (facts.batch_size !== 1 && !facts.any_batch) {
      problems.push(`takes ${facts.batch_size} pictures at once; export it without --batch`);
    }
    if (facts.inputs.includes("proposals")) problems.push("takes proposals, which a picture does not have");
    if (!facts.resizes && !("divisibility" in facts.resize)) {
      problems.push("has no rule of resizing; the recipe needs ResizeShortestEdge as its only transform");
    }
    if (problems.length) throw new Error(problems.join("; "));
    return facts;
  }
  throw new Error("was not written by `det export --format onnx`");
}

export class Detector {
  static async load(bytes) {
    const detector = new Detector();
    detector.facts = factsOf(bytes);
    if (!globalThis.crossOriginIsolated) ort.env.wasm.numThreads = 1; // threads need COOP and COEP of the server
    detector.session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    detector.notDrawn = detector.session.outputNames.filter((name) => !DRAWN.has(name));
    return detector;
  }

  // Run the network on an RGBA picture; `decode` follows.
  async predict(picture) {
    const { width, height } = picture;
    let feeds, factors = [1, 1];
    if (this.facts.resizes) {
      feeds = { image: new ort.Tensor("uint8", rgb(picture), [height, width, 3]) };
    } else {
      const input = prepared(picture, this.facts.resize, this.facts.fixed);
      factors = input.factors;
      feeds = {
        pixels: new ort.Tensor("uint8", input.pixels, input.shape),
        sizes: new ort.Tensor("int64", BigInt64Array.from(input.size, BigInt), [1, 2]),
      };
    }
    this.outputs = await this.session.run(feeds);
    this.picture = { width, height, factors };
  }

  // Objects of at least this score, best last so that it is drawn on top, and the semantic map where there is one.
  decode(threshold) {
    const { outputs, facts, picture } = this, objects = [];
    const [across, down] = picture.factors, scores = outputs.scores?.data || [];
    for (let row = 0; row < scores.length; row++) {
      if (scores[row] < threshold) continue;
      const sides = [...outputs.boxes.data.subarray(4 * row, 4 * row + 4)];
      const box = sides.map((side, k) => side * (k % 2 ? down : across));
      const label = Number(outputs.labels.data[row]);
      const object = { box, label, score: scores[row], name: facts.classes[label] ?? String(label) };
      const rows = (name) => {
        const { data, dims } = outputs[name], size = data.length / dims[0];
        return [data.subarray(row * size, (row + 1) * size), dims];
      };
      if (outputs.masks) {
        const [values, dims] = rows("masks");
        object.mask = mask(values, dims.at(-1), box, picture.width, picture.height);
      }
      if (outputs[HEATMAPS]) {
        const [values, dims] = rows(HEATMAPS);
        object.keypoints = keypoints(values, dims[1], dims.at(-1), box);
      }
      if (CHARTS.every((name) => outputs[POSE + name])) {
        const parts = CHARTS.map((name) => [name, rows(POSE + name)[0]]);
        object.iuv = charts(Object.fromEntries(parts), outputs[`${POSE}u`].dims.at(-1), box);
      }
      objects.push(object);
    }
    objects.sort((one, other) => one.score - other.score);
    const map = outputs.semantic && semantic(outputs.semantic.data, outputs.semantic.dims.slice(-3));
    return { objects, semantic: map };
  }
}
