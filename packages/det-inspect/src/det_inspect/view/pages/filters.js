// Filters: split, class, size, defects, order; and the counts that set them by a click.

import { get } from "./api.js";
import { element, part, report } from "./dom.js";
import { refresh } from "./grid.js";
import { emit, on, setFilters, state } from "./state.js";

const SORTS = { file: "as in the file", name: "by name", objects: "most objects first", defects: "most defects first" };

export function startFilters() {
  part("text").value = state.filters.text || "";
  let waiting = 0;
  part("text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => setFilters({ text: part("text").value }), 150);
  });
  part("more").addEventListener("click", () => {
    const open = part("filters").classList.toggle("open");
    part("more").setAttribute("aria-expanded", String(open));
  });
  on("filters", show);
  on("counts", show);
  show();
  watchDefects();
}

export function choice(name, title, options) {
  const select = element("select", { id: `filter-${name}`, change: () => setFilters({ [name]: select.value }) },
    ...Object.entries(options).map(([value, text]) => new Option(text, value)));
  select.value = state.filters[name] || Object.keys(options)[0];
  return element("label", {}, title, select);
}

function show() {
  const { set } = state;
  const rows = [];
  if (Object.keys(set.splits).length > 1) rows.push(choice("split", "Split", { "": "all", ...keyed(set.splits) }));
  rows.push(choice("size", "Size of objects", { "": "all", ...keyed(set.sizes) }));
  rows.push(choice("sort", "Order", { ...SORTS, ...state.sorts }));
  emit("controls", rows);
  if (listing().length) rows.push(element("button", { type: "button", id: "clear", click: clear }, "Clear filters"));
  rows.push(element("h3", {}, "Classes"), classes());
  if (state.defects) rows.push(...defects(state.defects));
  const focused = document.activeElement?.id;
  part("filters").replaceChildren(...rows);
  if (focused && part("filters").contains(part(focused))) part(focused).focus();
}

const keyed = (counts) => Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, `${name} (${count})`]));

// Those that leave pictures out or order them; the sliders stay.
const listing = () => Object.keys(state.filters).filter((name) => !["score", "iou", "model"].includes(name));

function clear() {
  part("text").value = "";
  setFilters(Object.fromEntries(listing().map((name) => [name, ""])));
}

function classes() {
  const ordered = state.set.classes.map((each, label) => ({ ...each, label })).sort((a, b) => b.objects - a.objects);
  return counts("class", ordered.map(({ name, objects, label }) => [String(label), name, objects]));
}

// A list of counts, each a button that sets a filter, or clears it if it is set.
export function counts(filter, rows) {
  return element("ul", { class: "counts", id: `counts-${filter}` }, ...rows.map(([value, name, count]) => {
    const active = state.filters[filter] === value;
    const click = () => setFilters({ [filter]: active ? "" : value });
    const button = element("button", { type: "button", "aria-pressed": String(active), click },
      element("span", {}, name), element("span", {}, String(count)));
    return element("li", {}, button);
  }));
}

function defects(summary) {
  const kinds = Object.entries(summary.kinds);
  const progress = summary.state === "checking" ? `checking: ${summary.checked} of ${state.set.pictures}` : summary.state;
  const rows = [element("h3", {}, "Defects")];
  if (summary.state !== "done") rows.push(element("p", { id: "checking" }, progress));
  else if (!kinds.length) rows.push(element("p", {}, "none found"));
  if (kinds.length) rows.push(counts("defect", [["any", "any", ""], ...kinds.map(([kind, count]) => [kind, kind, count])]));
  if (summary.others.length) {
    rows.push(element("details", {}, element("summary", {}, `${summary.others.length} of no picture`),
      element("ul", { class: "defects" }, ...summary.others.map((text) => element("li", {}, text)))));
  }
  return rows;
}

async function watchDefects() {
  try {
    const before = state.defects;
    state.defects = await get("api/defects");
    show();
    if (["checking", "waiting"].includes(state.defects.state)) setTimeout(watchDefects, before ? 1000 : 300);
    else if (Object.keys(state.defects.kinds).length) refresh();
  } catch (error) {
    report(error.message, true);
  }
}
