// What the page shows: the set, the filters, and the numbers of the list. Filters are kept in the address.

const FILTERS = ["split", "class", "size", "defect", "text", "sort", "marked", "score", "iou", "model", "kind", "true", "predicted"];

export const state = { set: null, filters: {}, total: 0, position: 0, defects: null, picked: new Set() };
const listeners = new Map();

export function on(name, listener) {
  listeners.set(name, [...(listeners.get(name) || []), listener]);
}

export function emit(name, value) {
  for (const listener of listeners.get(name) || []) listener(value);
}

export function readAddress() {
  const values = new URLSearchParams(location.hash.slice(1));
  state.filters = Object.fromEntries(FILTERS.filter((name) => values.get(name)).map((name) => [name, values.get(name)]));
}

export function setFilters(changes) {
  state.filters = { ...state.filters, ...changes };
  for (const [name, value] of Object.entries(state.filters)) {
    if (value === "" || value === null || value === undefined) delete state.filters[name];
  }
  const address = new URLSearchParams(state.filters).toString();
  history.replaceState(null, "", address ? `#${address}` : location.pathname);
  emit("filters", changes);
}
