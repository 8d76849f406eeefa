// Boxes, masks, keypoints, DensePose and semantic maps over a picture, on a canvas.

const COLORS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#f032e6", "#808000"];

export const color = (label) => COLORS[label % COLORS.length];
const channels = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

function blend(pixels, at, [red, green, blue], share) {
  pixels.data[at] += (red - pixels.data[at]) * share;
  pixels.data[at + 1] += (green - pixels.data[at + 1]) * share;
  pixels.data[at + 2] += (blue - pixels.data[at + 2]) * share;
}

// Paint the pixels of a part of the picture; `colorOf` gives the color at an index of the part, or null.
function paint(pixels, { left, top, width, height }, colorOf, share) {
  for (let y = Math.max(0, -top); y < Math.min(height, pixels.height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(width, pixels.width - left); x++) {
      const found = colorOf(y * width + x);
      if (found) blend(pixels, 4 * ((top + y) * pixels.width + left + x), found, share);
    }
  }
}

function paintSemantic(pixels, map) {
  for (let y = 0, at = 0; y < pixels.height; y++) {
    const row = Math.min(Math.floor(((y + 0.5) * map.height) / pixels.height), map.height - 1) * map.width;
    for (let x = 0; x < pixels.width; x++, at += 4) {
      const label = map.values[row + Math.min(Math.floor(((x + 0.5) * map.width) / pixels.width), map.width - 1)];
      blend(pixels, at, channels(color(label)), 0.5);
    }
  }
}

function paintObject(pixels, object) {
  const own = channels(color(object.label));
  if (object.mask) paint(pixels, object.mask, (at) => (object.mask.values[at] ? own : null), 0.5);
  const iuv = object.iuv;
  if (iuv) {
    const colorOf = (at) => {
      const [label, u, v] = iuv.values.subarray(3 * at, 3 * at + 3);
      return label ? [10 * label, u, v] : null;
    };
    paint(pixels, iuv, colorOf, 0.8);
  }
}

function drawBox(context, object) {
  const line = context.lineWidth, [x0, y0, x1, y1] = object.box, side = 9 * line;
  const text = `${object.name} ${object.score.toFixed(2)}`;
  context.strokeStyle = context.fillStyle = color(object.label);
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  const top = y0 < side ? y0 : y0 - side; // inside at the edge of the picture
  context.fillRect(x0, top, context.measureText(text).width + 4 * line, side);
  context.fillStyle = "white";
  context.fillText(text, x0 + 2 * line, top + 7 * line);
  context.fillStyle = color(object.label);
  for (const [x, y] of object.keypoints || []) {
    context.beginPath();
    context.arc(x, y, 2 * line, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

// Draw a picture, anything that drawImage takes, of this size, and what a detector answers on it.
export function draw(canvas, picture, { width, height }, { objects, semantic }) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  [canvas.width, canvas.height] = [width, height];
  context.drawImage(picture, 0, 0, width, height);
  if (semantic || objects.some((each) => each.mask || each.iuv)) {
    const pixels = context.getImageData(0, 0, width, height);
    if (semantic) paintSemantic(pixels, semantic);
    objects.forEach((each) => paintObject(pixels, each));
    context.putImageData(pixels, 0, 0);
  }
  context.lineWidth = Math.max(1, Math.round(Math.min(width, height) / 250));
  context.font = `${7 * context.lineWidth}px system-ui, sans-serif`;
  objects.forEach((each) => drawBox(context, each));
}
