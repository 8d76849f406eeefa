// Curves of runs, side by side, which follow while they train.

import { get } from "./api.js";
import { chart, legend } from "./chart.js";
import { color, element, part, report } from "./dom.js";
import { on } from "./state.js";

const EVERY = 3000, FIRST = [/^loss$/, /^val\/.*AP$/, /^val\/loss$/, /^lr$/];
let open = false, timer = 0, last = "";

export function startRuns() {
  on("tab", (name) => {
    open = name === "runs";
    clearTimeout(timer);
    if (open) load();
  });
}

async function load() {
  try {
    const runs = await get("api/runs");
    const text = JSON.stringify(runs);
    if (text !== last) show(runs);
    last = text;
  } catch (error) {
    report(error.message, true);
  }
  if (open) timer = setTimeout(load, EVERY);
}

function show(runs) {
  const expanded = part("runs").querySelector("details")?.open;
  const series = runs.map((run, at) => ({ ...run, color: color(at) }));
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.curves)))];
  const rank = (name) => FIRST.findIndex((pattern) => pattern.test(name));
  const main = names.filter((name) => rank(name) >= 0).sort((a, b) => rank(a) - rank(b));
  const others = names.filter((name) => rank(name) < 0);
  const drawn = (name) => chart(name, series.filter((run) => run.curves[name]).map((run) => ({ ...run, points: run.curves[name] })));
  const more = element("details", {}, element("summary", {}, `${others.length} more curves`), element("div", { class: "charts" }, ...others.map(drawn)));
  more.open = Boolean(expanded);
  more.hidden = !others.length;
  part("runs").replaceChildren(legend(series), table(runs), element("div", { class: "charts" }, ...main.map(drawn)), more,
    ...runs.map(samples).filter(Boolean));
}

function table(runs) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))].slice(0, 8);
  const row = (run) => element("tr", {}, element("td", {}, run.name), element("td", {}, run.progress),
    ...names.map((name) => element("td", {}, run.metrics[name] == null ? "-" : Number(run.metrics[name].toPrecision(4)).toString())));
  const heads = element("tr", {}, ...["run", "progress", ...names].map((each) => element("th", {}, each)));
  const notes = runs.flatMap((run) => run.notes.map((note) => element("p", { class: "note" }, `${run.name}: ${note}`)));
  return element("div", { class: "wide" }, element("table", { class: "totals", id: "metrics" }, heads, ...runs.map(row)), ...notes);
}

function samples(run, at) {
  if (!run.samples.length) return null;
  const name = run.samples[run.samples.length - 1];
  return element("figure", {}, element("figcaption", {}, `${run.name}: samples, ${name}`),
    element("img", { class: "sample", src: `runs/${at}/samples/${encodeURIComponent(name)}`, alt: "" }));
}
