// Views of the page: pictures, figures, runs.

import { element, part } from "./dom.js";
import { close } from "./picture.js";
import { emit } from "./state.js";

const views = [];

export function addTab(name, title) {
  views.push(name);
  const button = element("button", { type: "button", id: `tab-${name}`, "aria-pressed": "false", click: () => openTab(name) }, title);
  part("tabs").append(button);
}

export function openTab(name) {
  close();
  for (const each of views) {
    part(each).hidden = each !== name;
    part(`tab-${each}`).setAttribute("aria-pressed", String(each === name));
  }
  part("filters").hidden = name !== "pictures";
  emit("tab", name);
}
