// The keyboard: arrows and j, k move, Enter opens, Escape closes, / searches.

import { part } from "./dom.js";
import { columns, select } from "./grid.js";
import { close, isOpen, open, step } from "./picture.js";
import { emit, state } from "./state.js";

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return escape(event);
    if (event.target.matches("input, select, textarea")) return undefined;
    if (event.key === "Enter" && event.target.matches("button, summary, a")) return undefined;
    const action = isOpen() ? opened(event.key) : listed(event.key);
    if (action) {
      event.preventDefault();
      action();
    } else emit("key", event);
    return undefined;
  });
}

function escape(event) {
  if (event.target.matches("input")) event.target.blur();
  else if (isOpen()) close();
}

const opened = (key) => ({
  ArrowRight: () => step(1), j: () => step(1), ArrowDown: () => step(1),
  ArrowLeft: () => step(-1), k: () => step(-1), ArrowUp: () => step(-1),
})[key];

const listed = (key) => ({
  ArrowRight: () => select(state.position + 1), j: () => select(state.position + 1),
  ArrowLeft: () => select(state.position - 1), k: () => select(state.position - 1),
  ArrowDown: () => select(state.position + columns()), ArrowUp: () => select(state.position - columns()),
  Home: () => select(0), End: () => select(state.total - 1),
  Enter: () => open(state.position), "/": () => part("text").focus(),
})[key];
