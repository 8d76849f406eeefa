// Lines in a square with axes, as SVG.

import { element, shape } from "./dom.js";

const WIDTH = 420, HEIGHT = 260, LEFT = 46, BOTTOM = 26, TOP = 10, RIGHT = 10;

// series: [{name, color, points: [[x, y, ...]]}]; picked(series, point) is called with the nearest point of a click.
export function chart(title, series, { x = null, y = null, picked = null } = {}) {
  const points = series.flatMap((each) => each.points);
  const [x0, x1] = x || range(points.map((each) => each[0])), [y0, y1] = y || range(points.map((each) => each[1]));
  const across = (value) => LEFT + ((value - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const down = (value) => HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - BOTTOM - TOP);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": title });
  for (const value of ticks(x0, x1)) {
    svg.append(shape("path", { class: "rule", d: `M${across(value)} ${TOP}V${HEIGHT - BOTTOM}` }),
      shape("text", { x: across(value), y: HEIGHT - 8, "text-anchor": "middle" }, short(value)));
  }
  for (const value of ticks(y0, y1)) {
    svg.append(shape("path", { class: "rule", d: `M${LEFT} ${down(value)}H${WIDTH - RIGHT}` }),
      shape("text", { x: LEFT - 5, y: down(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const each of series) {
    if (each.points.length === 1) svg.append(shape("circle", { cx: across(each.points[0][0]), cy: down(each.points[0][1]), r: 3, fill: each.color }));
    const place = each.points.map((point) => `${across(point[0]).toFixed(1)},${down(point[1]).toFixed(1)}`).join(" ");
    svg.append(shape("polyline", { points: place, fill: "none", stroke: each.color, "stroke-width": 1.8 }));
  }
  if (picked) {
    svg.style.cursor = "pointer";
    svg.addEventListener("click", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const all = series.flatMap((each) => each.points.map((point) => [each, point]));
      const far = ([, point]) => (across(point[0]) - at.x) ** 2 + (down(point[1]) - at.y) ** 2;
      if (all.length) picked(...all.reduce((best, each) => (far(each) < far(best) ? each : best)));
    });
  }
  return element("figure", {}, element("figcaption", {}, title), svg);
}

function range(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(low)) return [0, 1];
  return low === high ? [low - Math.abs(low) / 2 - 0.5, high + Math.abs(high) / 2 + 0.5] : [low, high];
}

function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) values.push(value);
  return values;
}

const short = (value) => (Math.abs(value) < 1e-12 ? "0" : Number(value.toPrecision(3)).toString());

export function legend(series, click = null) {
  return element("ul", { class: "legend" }, ...series.map((each) => {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = each.color;
    const row = element("li", {}, click ? element("button", { type: "button", click: () => click(each) }, swatch, ` ${each.name}`)
      : element("span", {}, swatch, ` ${each.name}`));
    return row;
  }));
}
