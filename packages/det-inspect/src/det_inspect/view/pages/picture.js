// One picture: its objects, its facts and its defects.

import { get, reason } from "./api.js";
import { color, counted, element, part, report } from "./dom.js";
import { pictureAt, select } from "./grid.js";
import { box, draw, panel } from "./shapes.js";
import { emit, on, state } from "./state.js";

let opened = 0, current = null;
export const isOpen = () => !part("picture").hidden;

export function startPicture() {
  part("close").addEventListener("click", close);
  part("previous").addEventListener("click", () => step(-1));
  part("next").addEventListener("click", () => step(1));
  on("open", open);
  on("score", again);
  on("filters", (changes) => isOpen() && "iou" in changes && open(state.position));
}

export function close() {
  part("picture").hidden = true;
  opened += 1;
  part("grid").focus({ preventScroll: true });
}

export const step = (by) => state.position + by >= 0 && state.position + by < state.total && open(state.position + by);

export async function open(position) {
  select(position);
  const number = ++opened;
  try {
    const item = await pictureAt(state.position);
    if (!item || number !== opened) return;
    const content = await get(`api/pictures/${item.index}`, { iou: state.filters.iou });
    if (number !== opened) return;
    current = content;
    render(content);
  } catch (error) {
    report(error.message, true);
  }
}

export const currentPicture = () => current;
export const again = () => isOpen() && current && render(current);

function render(content) {
  part("picture").hidden = false;
  part("name").textContent = content.name;
  content.objects.forEach((each) => { each.key = `object-${each.row}`; });
  const heading = `ground truth: ${counted(content.objects.length + content.not_shown, "object")}`;
  const panels = [{ heading, objects: content.objects }];
  emit("panels", { content, panels });
  part("stage").replaceChildren(...panels.map((each) => side(content, panels.length, each)));
  part("facts").replaceChildren(...facts(content, panels));
  emit("picture", content);
}

function side(content, sides, { heading, objects, address, plain, control }) {
  const { width, height } = content, unit = (Math.max(width, height) * sides) / 560;
  const classes = state.set.classes;
  const drawn = plain ? [] : objects.map((each) => draw(each, classes, unit, each.text || classes[each.label]?.name));
  const problems = plain ? [] : content.defects.filter((each) => each.box).map(({ box: [x0, y0, x1, y1] }) =>
    box([x0, y0, x1 - x0, y1 - y0], "problem"));
  const place = address || `pictures/${content.index}/image`;
  const made = element("div", { class: "panel" }, element("div", {}, heading, " ", control));
  made.append(panel(place, width, height, [...drawn, ...problems], async (image) => {
    image.remove();
    made.append(element("p", { class: "error" }, await reason(place)));
  }));
  return made;
}

function facts(content, panels) {
  const rows = [element("p", {}, `${content.width} × ${content.height}, ${content.split}, id ${content.id}`)];
  if (content.defects.length) {
    rows.push(element("h3", {}, "Defects"), element("ul", { class: "defects" },
      ...content.defects.map((each) => element("li", {}, `${each.kind}: ${each.text}`))));
  }
  for (const { heading, objects } of panels) rows.push(element("h3", {}, heading), table(objects));
  if (content.not_shown) rows.push(element("p", {}, `not drawn: ${counted(content.not_shown, "object")}`));
  return rows;
}

function table(objects) {
  const rows = objects.map((each) => {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = each.color || color(each.label);
    const name = each.text || state.set.classes[each.label]?.name;
    const row = element("tr", { tabindex: 0, "data-key": each.key }, element("td", {}, swatch), element("td", {}, name),
      element("td", {}, each.note || each.size || ""), each.action ? element("td", {}, each.action) : null);
    row.classList.toggle("bad", Boolean(each.bad));
    for (const event of ["mouseenter", "focus"]) row.addEventListener(event, () => highlight(each.key));
    for (const event of ["mouseleave", "blur"]) row.addEventListener(event, () => highlight(null));
    return row;
  });
  return element("table", { class: "objects" }, ...rows);
}

function highlight(key) {
  for (const each of document.querySelectorAll("#stage g[data-key]")) {
    each.classList.toggle("active", each.dataset.key === key);
    each.classList.toggle("dim", key !== null && each.dataset.key !== key);
  }
}
