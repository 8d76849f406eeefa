// Marks of bad annotations, picked pictures, and what is written of them.

import { get, post } from "./api.js";
import { element, report } from "./dom.js";
import { pictureAt, tileOf } from "./grid.js";
import { again, currentPicture, isOpen } from "./picture.js";
import { emit, on, setFilters, state } from "./state.js";

const names = new Map(); // typed so far
let summary = { splits: {}, pictures: 0, output: "" }, done = "";

export function startMarks() {
  on("controls", controls);
  on("panels", panels);
  on("tile", ({ tile, item }) => tile.classList.toggle("picked", state.picked.has(item.index)));
  on("key", key);
  get("api/marks").then(update, (error) => report(error.message, true));
}

function update(content) {
  summary = content;
  emit("counts");
}

async function key(event) {
  if (event.key === "x") {
    event.preventDefault();
    const item = await pictureAt(state.position);
    if (item) pick(item.index);
  }
  const focused = isOpen() && document.activeElement?.closest("tr[data-key^=object-]");
  if (event.key === "b" && focused) mark(Number(focused.dataset.key.slice(7)));
}

function pick(index) {
  if (!state.picked.delete(index)) state.picked.add(index);
  tileOf(state.position)?.classList.toggle("picked", state.picked.has(index));
  again();
  emit("counts");
}

async function mark(row) {
  const object = currentPicture().objects.find((each) => each.row === row);
  try {
    update(await post("api/marks", { row, bad: !object.bad }));
    object.bad = !object.bad;
    again();
    document.querySelector(`tr[data-key=object-${row}]`)?.focus();
  } catch (error) {
    report(error.message, true);
  }
}

function panels({ content, panels: list }) {
  for (const each of list[0].objects) {
    const title = "Mark the annotation as bad (b)", pressed = String(Boolean(each.bad));
    each.action = element("button", { type: "button", class: "mark", title, "aria-pressed": pressed, click: () => mark(each.row) }, "bad");
  }
  const picked = state.picked.has(content.index);
  list[0].control = element("button", { type: "button", id: "pick", title: "Pick the picture (x)", "aria-pressed": String(picked),
    click: () => pick(content.index) }, picked ? "picked" : "pick");
}

function controls(rows) {
  const splits = Object.entries(summary.splits);
  if (splits.length) {
    const active = state.filters.marked === "true";
    rows.push(element("h3", {}, "Bad annotations"), element("button", { type: "button", id: "marked", "aria-pressed": String(active),
      click: () => setFilters({ marked: active ? "" : "true" }) }, `${summary.pictures} pictures with marks`));
    rows.push(...splits.map(([split, { marks, name }]) => writer(`corrected-${split}`, name, `Write ${split} without ${marks}`,
      (text) => post("api/corrected", { split, name: text }),
      ({ path, removed, annotations }) => `${path}: ${annotations} annotations, ${removed} removed`)));
  }
  if (state.picked.size) {
    rows.push(element("h3", {}, `${state.picked.size} picked pictures`), writer("export", "picked", "Export",
      (text) => post("api/export", { pictures: [...state.picked], name: text }),
      ({ path, pictures, problems }) => [`${path}: ${pictures} pictures`, ...problems].join("; ")));
  }
  if (done) rows.push(element("p", { id: "done" }, done));
}

// A name and a button that writes something of this name into the output folder.
function writer(id, name, title, write, sentence) {
  const input = element("input", { id, value: names.get(id) ?? name, "aria-label": title, maxlength: 100 });
  input.addEventListener("input", () => names.set(id, input.value));
  const click = async () => {
    try {
      done = sentence(await write(input.value));
      report("");
      emit("counts");
    } catch (error) {
      report(error.message, true);
    }
  };
  return element("div", {}, element("div", { class: "write" }, input), element("button", { type: "button", id: `${id}-write`, click }, title));
}
