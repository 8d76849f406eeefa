// The list of pictures: only the tiles in sight exist, and their facts come in pages.

import { get, reason } from "./api.js";
import { element, part, report } from "./dom.js";
import { emit, on, state } from "./state.js";

const WIDTH = 168, HEIGHT = 176, PAGE = 120, EXTRA_ROWS = 2;
let pages = new Map(), tiles = new Map(), version = 0;
const space = element("div", { id: "space" });

export function startGrid() {
  part("grid").append(space);
  part("grid").addEventListener("scroll", () => requestAnimationFrame(show));
  new ResizeObserver(() => show()).observe(part("grid"));
  on("filters", (changes) => ("score" in changes || "iou" in changes) && !depends() ? refresh() : reload());
}

export async function reload() {
  version += 1;
  pages = new Map();
  tiles = new Map();
  state.position = 0;
  space.replaceChildren();
  part("grid").scrollTop = 0;
  await page(0).catch(() => {}); // is reported
  show();
}

// Whether the list depends on which detections count.
const depends = () => ["kind", "true", "predicted"].some((name) => name in state.filters)
  || ["worst", "difference"].includes(state.filters.sort);

// Fresh facts of the tiles in sight, at the same place of the list.
export async function refresh() {
  version += 1;
  pages = new Map();
  const current = version;
  await page(Math.floor((first() * columns()) / PAGE)).catch(() => {});
  if (current !== version) return;
  tiles = new Map();
  space.replaceChildren();
  show();
}

export const columns = () => Math.max(1, Math.floor(part("grid").clientWidth / WIDTH));
const first = () => Math.floor(part("grid").scrollTop / HEIGHT);

async function page(number) {
  if (!pages.has(number)) {
    const current = version;
    const parameters = { ...state.filters, offset: number * PAGE, limit: PAGE };
    const request = get("api/pictures", parameters).then((content) => {
      if (current !== version) return [];
      state.total = content.total;
      part("total").textContent = `${content.total} of ${state.set.pictures} pictures`;
      return content.items;
    });
    request.catch((error) => report(error.message, true));
    pages.set(number, request);
  }
  return pages.get(number);
}

// The picture at a position of the list; null beyond its ends.
export async function pictureAt(position) {
  if (position < 0 || position >= state.total) return null;
  const items = await page(Math.floor(position / PAGE));
  return items[position % PAGE] || null;
}

export function show() {
  if (!part("grid").clientWidth) return;
  const across = columns(), width = part("grid").clientWidth / across;
  space.style.height = `${Math.ceil(state.total / across) * HEIGHT}px`;
  const rows = Math.ceil(part("grid").clientHeight / HEIGHT) + 2 * EXTRA_ROWS;
  const start = Math.max(0, first() - EXTRA_ROWS) * across;
  const stop = Math.min(state.total, start + rows * across);
  for (const [position, tile] of tiles) {
    if (position < start || position >= stop) {
      tile.remove();
      tiles.delete(position);
    }
  }
  for (let position = start; position < stop; position++) {
    if (!tiles.has(position)) place(position);
    const { style } = tiles.get(position);
    style.left = `${(position % across) * width}px`;
    style.top = `${Math.floor(position / across) * HEIGHT}px`;
    style.width = `${width}px`;
    style.height = `${HEIGHT}px`;
  }
}

function place(position) {
  const tile = element("div", { class: "tile", click: () => emit("open", position) });
  tile.classList.toggle("current", position === state.position);
  tiles.set(position, tile);
  space.append(tile);
  pictureAt(position).then((item) => item && tile.isConnected && fill(tile, item), () => {});
}

function fill(tile, item) {
  const address = `pictures/${item.index}/thumbnail`;
  const image = element("img", { src: address, alt: "", decoding: "async" });
  image.addEventListener("error", async () => {
    image.replaceWith(element("div", { class: "broken" }, await reason(address)));
  });
  const caption = element("div", { class: "caption" }, element("span", { title: item.name }, item.name));
  if (item.defects) caption.append(element("span", { class: "badge defect", title: "defects" }, `⚠ ${item.defects}`));
  caption.append(element("span", { class: "badge", title: "objects" }, String(item.objects)));
  tile.replaceChildren(image, caption);
  emit("tile", { tile, item, caption });
}

export const tileOf = (position) => tiles.get(position);

export function select(position) {
  if (!state.total) return;
  tiles.get(state.position)?.classList.remove("current");
  state.position = Math.min(Math.max(position, 0), state.total - 1);
  const top = Math.floor(state.position / columns()) * HEIGHT, grid = part("grid");
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + HEIGHT > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + HEIGHT - grid.clientHeight;
  show();
  tiles.get(state.position)?.classList.add("current");
}
