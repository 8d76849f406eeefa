"use strict";
// The page of det serve: a picture goes to /predict/NAME once; the slider filters what came back.

const part = (id) => document.getElementById(id);
const COLORS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#f032e6", "#808000"];
const LOWEST = 0.01;
let picture = null;
let answer = null;
let last = null;
let asked = 0;

function report(text, failed = false) {
  part("status").textContent = text;
  part("status").className = failed ? "error" : "";
}

function headers() {
  const token = part("token").value;
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function fetched(address, options = {}) {
  const response = await fetch(address, { ...options, headers: { ...headers(), ...options.headers } });
  const content = await response.json();
  if (response.status === 401) part("secret").hidden = false;
  if (!response.ok) throw new Error(content.errors.join("; "));
  return content;
}

async function listModels() {
  try {
    const models = await fetched("models");
    part("model").replaceChildren(...models.map((each) => new Option(each.name, each.name)));
    part("threshold").value = models[0].threshold;
    part("level").value = Number(models[0].threshold).toFixed(2);
    report("");
  } catch (error) {
    report(error.message, true);
  }
}

async function predict(file) {
  const number = ++asked;
  last = file;
  report("Predicting ...");
  try {
    const started = performance.now();
    const name = encodeURIComponent(part("model").value);
    const body = new FormData();
    body.append("picture", file);
    const [bitmap, content] = await Promise.all([
      createImageBitmap(file),
      fetched(`predict/${name}?format=json&threshold=${LOWEST}`, { method: "POST", body }),
    ]);
    if (number !== asked) return; // a newer picture is on its way
    picture = bitmap;
    answer = content;
    draw();
    report(`${Math.round(performance.now() - started)} ms`);
  } catch (error) {
    if (number === asked) report(error.message, true);
  }
}

// Runs of a compressed COCO mask: five bits per character, the sixth continues, and from the third run on differences.
function runs(text) {
  const counts = [];
  for (let i = 0; i < text.length; ) {
    let value = 0, shift = 0, code;
    do {
      code = text.charCodeAt(i++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << shift;
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}

function paint(pixels, mask, color) {
  const [height] = mask.size;
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  let place = 0;
  runs(mask.counts).forEach((count, number) => {
    for (let end = place + count; place < end; place++) {
      if (number % 2 === 0) continue;
      const at = 4 * ((place % height) * pixels.width + Math.floor(place / height));
      pixels.data[at] = (pixels.data[at] + red) / 2;
      pixels.data[at + 1] = (pixels.data[at + 1] + green) / 2;
      pixels.data[at + 2] = (pixels.data[at + 2] + blue) / 2;
    }
  });
}

function draw() {
  const canvas = part("canvas"), context = canvas.getContext("2d");
  const level = Number(part("threshold").value);
  const found = answer.annotations.filter((each) => each.score >= level);
  const names = new Map(answer.categories.map((each) => [each.id, each.name]));
  const order = new Map(answer.categories.map((each, number) => [each.id, number]));
  const color = (each) => COLORS[order.get(each.category_id) % COLORS.length];
  const { width, height } = answer.images[0];
  canvas.width = width;
  canvas.height = height;
  canvas.style.display = "block";
  part("hint").style.display = "none";
  context.drawImage(picture, 0, 0, width, height);
  const masked = found.filter((each) => each.segmentation);
  if (masked.length) {
    const pixels = context.getImageData(0, 0, width, height);
    masked.forEach((each) => paint(pixels, each.segmentation, color(each)));
    context.putImageData(pixels, 0, 0);
  }
  const line = Math.max(1, Math.round(Math.min(width, height) / 250));
  context.lineWidth = line;
  context.font = `${7 * line}px system-ui, sans-serif`;
  for (const each of found) drawBox(context, each, `${names.get(each.category_id)} ${each.score.toFixed(2)}`, color(each));
  listCounts(found, names);
}

function drawBox(context, each, text, color) {
  context.strokeStyle = context.fillStyle = color;
  context.save();
  if (each.bbox.length === 5) { // cx, cy, w, h, angle in degrees, counter-clockwise
    context.translate(each.bbox[0], each.bbox[1]);
    context.rotate((-each.bbox[4] * Math.PI) / 180);
    context.translate(-each.bbox[2] / 2, -each.bbox[3] / 2);
  } else context.translate(each.bbox[0], each.bbox[1]);
  context.strokeRect(0, 0, each.bbox[2], each.bbox[3]);
  const side = 9 * context.lineWidth;
  const top = each.bbox.length === 4 && each.bbox[1] < side ? 0 : -side; // inside at the edge of the picture
  context.fillRect(0, top, context.measureText(text).width + 4 * context.lineWidth, side);
  context.fillStyle = "white";
  context.fillText(text, 2 * context.lineWidth, top + 7 * context.lineWidth);
  context.fillStyle = color;
  context.restore();
  const points = each.keypoints || [];
  for (let i = 0; i < points.length; i += 3) {
    context.beginPath();
    context.arc(points[i] + 0.5, points[i + 1] + 0.5, 2 * context.lineWidth, 0, 2 * Math.PI);
    context.fill();
  }
}

function listCounts(found, names) {
  const counts = new Map();
  for (const each of found) counts.set(each.category_id, (counts.get(each.category_id) || 0) + 1);
  part("counts").replaceChildren();
  for (const [id, count] of counts) {
    const row = part("counts").insertRow();
    row.insertCell().textContent = names.get(id);
    row.insertCell().textContent = count;
  }
}

part("threshold").addEventListener("input", () => {
  part("level").value = Number(part("threshold").value).toFixed(2);
  if (answer) draw();
});
part("model").addEventListener("change", () => last && predict(last));
part("token").addEventListener("change", listModels);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
part("drop").addEventListener("click", () => part("file").click());
part("drop").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") part("file").click();
});
part("file").addEventListener("change", () => part("file").files[0] && predict(part("file").files[0]));
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  part("drop").addEventListener(name, (event) => {
    event.preventDefault();
    part("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) predict(event.dataTransfer.files[0]);
  });
}
listModels();
