// Confusion matrix and precision-recall curves; a cell or a point leads to its pictures.

import { get } from "./api.js";
import { chart, legend } from "./chart.js";
import { color, element, part, report } from "./dom.js";
import { on, setFilters, state } from "./state.js";
import { openTab } from "./tabs.js";

let open = false;

export function startFigures() {
  on("tab", (name) => {
    open = name === "figures";
    if (open) load();
  });
  on("filters", () => open && load());
}

async function load() {
  try {
    const { score, iou, model } = state.filters;
    const content = await get("api/figures", { score, iou, model });
    part("figures").replaceChildren(totals(content.totals), matrix(content.confusion), curves(content.curves));
  } catch (error) {
    report(error.message, true);
  }
}

const name = (label) => (label < 0 ? "nothing" : state.set.classes[label].name);

function totals(rows) {
  const cells = rows.map((each) => element("tr", {}, element("td", {}, each.name), element("td", {}, each.ap ?? "-"),
    element("td", {}, each.best_score ?? "-"), element("td", {}, String(each.kinds.right || 0)),
    element("td", {}, String(each.kinds.missed || 0)), element("td", {}, String(each.kinds.background || 0)),
    element("td", {}, String(each.kinds.classification || 0))));
  const heads = ["model", "AP at this IoU", "score of best F1", "matched", "missed", "background", "wrong class"];
  return element("table", { class: "totals" }, element("tr", {}, ...heads.map((each) => element("th", {}, each))), ...cells);
}

function show(filters) {
  setFilters({ kind: "", true: "", predicted: "", class: "", ...filters });
  openTab("pictures");
}

function matrix({ labels, counts }) {
  const head = element("tr", {}, element("th", {}, "object \\ detection"), ...labels.map((label) => element("th", {}, name(label))));
  const rows = labels.map((label, i) => {
    const total = counts[i].reduce((a, b) => a + b, 0) || 1;
    const cells = labels.map((other, j) => {
      const share = counts[i][j] / total;
      const click = () => show({ true: String(label), predicted: String(other) });
      const button = element("button", { type: "button", click, title: `${name(label)} as ${name(other)}: ${counts[i][j]}` }, String(counts[i][j] || ""));
      const cell = element("td", {}, label < 0 && other < 0 ? "" : button);
      cell.style.background = i === j ? `rgb(46 158 79 / ${share})` : `rgb(229 57 53 / ${share})`;
      return cell;
    });
    return element("tr", {}, element("th", {}, name(label)), ...cells);
  });
  return element("div", { class: "wide" }, element("h3", {}, "Confusion matrix: a cell lists its pictures"),
    element("table", { id: "confusion" }, head, ...rows));
}

function curves(list) {
  const series = list.map(({ label, ap, objects, points }) => ({ name: `${name(label)}: AP ${ap} of ${objects}`, label, color: color(label), points }));
  const picked = ({ label }, [, , score]) => show({ class: String(label), score: String(score), sort: "worst" });
  return element("div", {}, element("h3", {}, "Precision over recall: a point sets its score and class"),
    chart("", series, { x: [0, 1], y: [0, 1], picked }), legend(series, ({ label }) => show({ class: String(label), sort: "worst" })));
}
