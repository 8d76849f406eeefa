// Objects as SVG in the pixels of their picture.

import { color, shape } from "./dom.js";

export function draw(object, classes, unit, text) {
  const group = shape("g", { "data-key": object.key });
  if (object.bad) group.classList.add("bad");
  if (object.missed) group.classList.add("missed");
  group.style.color = object.color || color(object.label);
  const crowd = object.crowd ? " crowd" : "";
  if (object.polygons) group.append(shape("path", { class: `mask${crowd}`, d: object.polygons.map(path).join("") }));
  if (object.box) group.append(box(object.box, `shape${crowd}`));
  if (object.keypoints) group.append(...keypoints(object.keypoints, classes[object.label]?.skeleton || [], unit));
  if (text && object.box) group.append(label(object.box, text, unit));
  return group;
}

function path(ring) {
  let text = "";
  for (let i = 0; i < ring.length; i += 2) text += `${i ? "L" : "M"}${ring[i]} ${ring[i + 1]}`;
  return `${text}Z`;
}

// x, y, width and height; or of a rotated box its center, width, height and angle, in degrees, counter-clockwise.
export function box(values, style) {
  if (values.length === 4) {
    const [x, y, width, height] = values;
    return shape("rect", { class: style, x, y, width: Math.max(0, width), height: Math.max(0, height) });
  }
  const [x, y, width, height, angle] = values;
  const attributes = { x: x - width / 2, y: y - height / 2, width: Math.max(0, width), height: Math.max(0, height) };
  return shape("rect", { class: style, ...attributes, transform: `rotate(${-angle} ${x} ${y})` });
}

function label(values, text, unit) {
  const [x, y] = values.length === 4 ? values : [values[0] - values[2] / 2, values[1] - values[3] / 2];
  const size = 12 * unit;
  const place = { x: x + 2 * unit, y: Math.max(y - 3 * unit, size), "font-size": size, "stroke-width": 3 * unit };
  return shape("text", place, text);
}

function keypoints(values, skeleton, unit) {
  const points = [];
  for (let i = 0; i + 2 < values.length; i += 3) points.push(values.slice(i, i + 3));
  const there = (point) => point && point[2] > 0;
  const limbs = skeleton.filter(([a, b]) => there(points[a - 1]) && there(points[b - 1])).map(([a, b]) =>
    shape("line", { class: "limb", x1: points[a - 1][0], y1: points[a - 1][1], x2: points[b - 1][0], y2: points[b - 1][1] }));
  const joints = points.filter(there).map(([x, y]) => shape("circle", { class: "joint", cx: x, cy: y, r: 3 * unit }));
  return [...limbs, ...joints];
}

// A picture with its objects; `failed` gets the element of the picture when it cannot be shown.
export function panel(address, width, height, drawn, failed) {
  const image = shape("image", { href: address, width, height });
  image.addEventListener("error", () => failed(image));
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "xMidYMid meet" }, image, ...drawn);
}
