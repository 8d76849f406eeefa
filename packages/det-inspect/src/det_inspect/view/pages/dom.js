// Elements; all text is set as text, never as markup.

export const part = (id) => document.getElementById(id);
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

export function report(text, failed = false) {
  part("status").textContent = text;
  part("status").className = failed ? "error" : "";
}

// Colors of classes, far apart in hue and lightness.
const COLORS = ["#e63c32", "#286eeb", "#fab414", "#1ea05a", "#af46d7", "#14becd", "#f5781e", "#eb5aa0", "#82b928", "#7d5a3c"];

export function color(label) {
  if (label < COLORS.length) return COLORS[label];
  return `hsl(${Math.round(label * 222.5) % 360} 75% ${[42, 55, 68][label % 3]}%)`;
}
