// Predictions beside ground truth: sliders, kinds of errors, panels of each model, and numbers on the tiles.

import { get } from "./api.js";
import { counted, element, part, report } from "./dom.js";
import { choice, counts } from "./filters.js";
import { refresh } from "./grid.js";
import { emit, on, setFilters, state } from "./state.js";

const COLORS = { right: "#2e9e4f", duplicate: "#f5781e", ignored: "#888888" }, WRONG = "#e53935", MISSED = "#ffc107";
const NAMES = { right: "matched", classification: "wrong class", localisation: "poor overlap",
  both: "wrong class and overlap", ignored: "in a crowd" };
export const named = (kind) => NAMES[kind] || kind;
export const score = () => Number(state.filters.score ?? 0.5);
let kinds = {}, writers = [], drawing = "";

export function startModels() {
  if (!state.set.models.length) return;
  part("sliders").append(slider("score", "Score", 0, 1, 0.5), slider("iou", "IoU", 0.1, 0.95, 0.5));
  on("controls", controls);
  on("panels", panels);
  on("tile", tile);
  on("filters", () => load());
  state.sorts = { worst: "worst first" };
  if (state.set.models.length > 1) state.sorts.difference = "first model worse than the second";
  get("api/writers").then((names) => { writers = names; }, () => {});
  load();
  watch();
}

function slider(name, title, min, max, normal) {
  const value = state.filters[name] ?? normal;
  const input = element("input", { id: name, type: "range", min, max, step: 0.05, value });
  const output = element("output", { for: name }, Number(value).toFixed(2));
  input.addEventListener("input", () => {
    output.textContent = Number(input.value).toFixed(2);
    if (name === "score") {
      state.filters.score = input.value;
      emit("score");
    }
  });
  input.addEventListener("change", () => setFilters({ [name]: input.value }));
  return element("label", {}, title, input, output);
}

async function load() {
  try {
    const { score: level, iou, model } = state.filters;
    const content = await get("api/models", { score: level, iou, model });
    state.set.models = content.models;
    kinds = content.kinds;
    emit("counts");
  } catch (error) {
    report(error.message, true);
  }
}

// While models predict, the numbers follow.
async function watch() {
  const before = state.set.models.map((each) => each.pictures).join();
  await load();
  const working = state.set.models.some((each) => !/^(done|failed)/.test(each.state));
  if (state.set.models.map((each) => each.pictures).join() !== before) refresh();
  if (working) setTimeout(watch, 2000);
}

function controls(rows) {
  const { models } = state.set;
  if (models.length > 1) {
    rows.push(choice("model", "Errors of", Object.fromEntries(models.map(({ name }, at) => [String(at), name]))));
  }
  rows.push(element("h3", {}, "Detections"), counts("kind", Object.entries(kinds).map(([kind, count]) => [kind, named(kind), count])));
  for (const { true: label, name } of [{ true: state.filters.true, name: "object" }, { true: state.filters.predicted, name: "detection" }]) {
    if (label !== undefined) rows.push(element("p", { class: "cell" }, `${name}: ${state.set.classes[label]?.name ?? "nothing"}`));
  }
  for (const { name, state: progress, notes, pictures } of models) {
    if (progress !== "done") rows.push(element("p", { class: "progress" }, `${name}: ${progress}, ${pictures} pictures`));
    rows.push(...notes.map((note) => element("p", { class: "note" }, `${name}: ${note}`)));
  }
}

function tile({ item, caption }) {
  item.errors.forEach(([wrong, missed], at) => {
    if (!state.set.models[at]) return;
    const title = `${state.set.models[at].name}: ${wrong} wrong, ${missed} missed`;
    if (wrong || missed) caption.append(element("span", { class: "badge wrong", title }, `✗ ${wrong + missed}`));
  });
}

function panels({ content, panels: list }) {
  content.models.forEach((model, at) => list.push(panelOf(content, model, at)));
  if (state.set.models.some((each) => each.drawable) && writers.length) {
    const options = [new Option("drawn here", ""), ...writers.map((name) => new Option(`drawn by ${name}`, name))];
    const select = element("select", { id: "drawing", "aria-label": "Drawing" }, ...options);
    select.value = drawing;
    select.addEventListener("change", () => { drawing = select.value; emit("score"); });
    list[list.length - 1].control = select;
  }
}

function panelOf(content, model, at) {
  const passing = model.detections.filter((each) => each.score >= score());
  const met = new Set(passing.filter((each) => ["right", "classification"].includes(each.kind)).map((each) => each.object));
  const missed = model.predicted ? content.objects.filter((each) => !each.crowd && !met.has(each.row)) : [];
  const name = (each) => state.set.classes[each.label].name;
  const objects = [
    ...missed.map((each) => ({ ...each, key: `missed-${at}-${each.row}`, color: MISSED, missed: true, note: "missed" })),
    ...passing.map((each) => ({ ...each, key: `detection-${at}-${each.row}`, color: COLORS[each.kind] || WRONG,
      note: named(each.kind), text: `${name(each)} ${each.score.toFixed(2)}` })),
  ];
  const wrong = passing.filter((each) => !["right", "ignored"].includes(each.kind)).length;
  const heading = model.predicted ? `${model.name}: ${counted(passing.length, "detection")}, ${wrong} wrong, ${missed.length} missed`
    : `${model.name}: not predicted yet`;
  if (!drawing || !state.set.models[at].drawable) return { heading, objects };
  const address = `pictures/${content.index}/drawn?writer=${encodeURIComponent(drawing)}&model=${at}&score=${score()}`;
  return { heading, objects, address, plain: true };
}
