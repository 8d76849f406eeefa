// From the arrays of an exported file to pictures: resizing, masks, keypoints, DensePose charts and semantic maps.
// The formulas are those of det_export.preprocess, det_export.numpy_postprocess and det_densepose.results.conversion.

const roundHalfEven = (x) => {
  const up = Math.round(x);
  return up - x === 0.5 && up % 2 ? up - 1 : up;
};

// Weights of a triangle filter as wide as the pixels that become one: for each target, its first source and weights.
function triangle(side, target) {
  const reach = Math.max(1, side / target);
  return Array.from({ length: target }, (_, i) => {
    const center = ((i + 0.5) * side) / target - 0.5;
    const first = Math.max(0, Math.ceil(center - reach));
    const last = Math.min(side - 1, Math.floor(center + reach));
    const weights = [];
    for (let at = first; at <= last; at++) {
      weights.push(Math.max(0, 1 - Math.abs(at - center) / reach));
    }
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((each) => each / sum) };
  });
}

// The inputs of a file that does not resize: planes uint8 (3, H', W') of an RGBA picture by the rule of the file,
// padded right and bottom with zeros, the size without padding, and factors from pixels of the input to the picture.
// Where a file has fixed sides, (height, width), a picture that the rule makes larger is scaled down to fit.
export function prepared({ data, width, height }, rule, fixed) {
  const short = rule.short ? rule.short / Math.min(height, width) : 1;
  let scale = Math.min(short, (rule.long || Infinity) / Math.max(height, width));
  if (fixed) scale = Math.min(scale, fixed[0] / height, fixed[1] / width);
  const [rows, columns] = [height, width].map((side) => Math.max(1, Math.floor(side * scale + 0.5)));
  const [tall, wide] = fixed || [rows, columns].map((side) =>
    Math.max(Math.ceil(side / rule.divisibility) * rule.divisibility, rule.smallest));
  const pixels = new Uint8Array(3 * tall * wide);
  const across = triangle(width, columns), down = triangle(height, rows);
  const narrow = new Float64Array(height * columns);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < columns; x++) {
        let sum = 0;
        const { first, weights } = across[x];
        for (let k = 0; k < weights.length; k++) sum += weights[k] * data[4 * (y * width + first + k) + channel];
        narrow[y * columns + x] = sum;
      }
    }
    for (let y = 0; y < rows; y++) {
      const { first, weights } = down[y];
      for (let x = 0; x < columns; x++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * narrow[(first + k) * columns + x];
        pixels[(channel * tall + y) * wide + x] = roundHalfEven(sum);
      }
    }
  }
  return { pixels, shape: [1, 3, tall, wide], size: [rows, columns], factors: [width / columns, height / rows] };
}

// RGB bytes (H, W, 3) of an RGBA picture.
export function rgb({ data, width, height }) {
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  return pixels;
}

// The pixels of a mask in the picture: probabilities (side, side) within the box, interpolated, falling to 0 outside.
export function mask(values, side, [x0, y0, x1, y1], width, height, threshold = 0.5) {
  const left = Math.max(Math.floor(x0) - 1, 0), right = Math.min(Math.ceil(x1) + 1, width);
  const top = Math.max(Math.floor(y0) - 1, 0), bottom = Math.min(Math.ceil(y1) + 1, height);
  if (!(x0 < x1 && y0 < y1 && left < right && top < bottom)) return { left, top, width: 0, height: 0, values: [] };
  const found = new Uint8Array((right - left) * (bottom - top));
  const cell = (row, column) =>
    row < 0 || column < 0 || row >= side || column >= side ? 0 : values[row * side + column];
  for (let y = top, at = 0; y < bottom; y++) {
    const v = ((y + 0.5 - y0) / (y1 - y0)) * side - 0.5, row = Math.floor(v), b = v - row;
    for (let x = left; x < right; x++, at++) {
      const u = ((x + 0.5 - x0) / (x1 - x0)) * side - 0.5, column = Math.floor(u), a = u - column;
      const upper = cell(row, column) * (1 - a) + cell(row, column + 1) * a;
      const lower = cell(row + 1, column) * (1 - a) + cell(row + 1, column + 1) * a;
      found[at] = upper * (1 - b) + lower * b >= threshold ? 1 : 0;
    }
  }
  return { left, top, width: right - left, height: bottom - top, values: found };
}

// Weights of cubic convolution (Keys, 1981; a = -0.75), a row of `length` per target; cells beyond the ends repeat.
function bicubic(length, target) {
  const rows = new Float64Array(target * length);
  for (let i = 0; i < target; i++) {
    const place = (i + 0.5) * (length / target) - 0.5, low = Math.floor(place);
    for (let step = -1; step < 3; step++) {
      const away = Math.abs(place - (low + step));
      const weight = away <= 1 ? (1.25 * away - 2.25) * away ** 2 + 1 : -0.75 * (((away - 5) * away + 8) * away - 4);
      rows[i * length + Math.min(Math.max(low + step, 0), length - 1)] += weight;
    }
  }
  return rows;
}

// [x, y, score] of each of `count` heatmaps (count, side, side): the highest pixel after enlarging to the box.
export function keypoints(heatmaps, count, side, [x0, y0, x1, y1]) {
  const width = Math.max(x1 - x0, 1), height = Math.max(y1 - y0, 1);
  const rows = Math.ceil(height), columns = Math.ceil(width);
  const down = bicubic(side, rows), across = bicubic(side, columns);
  const wide = new Float64Array(side * columns), found = [];
  for (let number = 0; number < count; number++) {
    const map = heatmaps.subarray(number * side * side, (number + 1) * side * side);
    for (let y = 0, at = 0; y < side; y++) {
      for (let x = 0; x < columns; x++, at++) {
        wide[at] = 0;
        for (let k = 0; k < side; k++) wide[at] += across[x * side + k] * map[y * side + k];
      }
    }
    let best = -Infinity, place = 0;
    for (let y = 0, at = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, at++) {
        let value = 0;
        for (let k = 0; k < side; k++) value += down[y * side + k] * wide[k * columns + x];
        if (value > best) [best, place] = [value, at];
      }
    }
    const sum = map.reduce((total, value) => total + Math.exp(value - best), 0);
    const x = ((place % columns) + 0.5) * (width / columns) + x0;
    found.push([x, (Math.floor(place / columns) + 0.5) * (height / rows) + y0, 1 / sum]);
  }
  return found;
}

// The two neighbors of each of `target` places among `length`, and the weight of the second.
function linear(length, target) {
  return Array.from({ length: target }, (_, i) => {
    const place = Math.max((i + 0.5) * (length / target) - 0.5, 0), low = Math.min(Math.floor(place), length - 1);
    return [low, Math.min(low + 1, length - 1), place - low];
  });
}

// Part, 255 u and 255 v of each pixel of the box, bytes (height, width, 3), from DensePose charts (C, side, side).
export function charts({ coarse_segm: coarse, fine_segm: fine, u, v }, side, [x0, y0, x1, y1]) {
  const left = Math.trunc(x0), top = Math.trunc(y0), area = side * side;
  const width = Math.max(Math.trunc(x1 - x0), 1), height = Math.max(Math.trunc(y1 - y0), 1);
  const down = linear(side, height), across = linear(side, width), values = new Uint8Array(3 * width * height);
  const at = new Int32Array(4), weights = new Float64Array(4); // the four cells around a pixel
  const sample = (map, channel) => {
    let sum = 0;
    for (let k = 0; k < 4; k++) sum += weights[k] * map[channel * area + at[k]];
    return sum;
  };
  const best = (map) => {
    let found = 0, most = -Infinity;
    for (let channel = 0; channel * area < map.length; channel++) {
      const value = sample(map, channel);
      if (value > most) [most, found] = [value, channel];
    }
    return found;
  };
  for (let y = 0, place = 0; y < height; y++) {
    const [upper, lower, b] = down[y];
    for (let x = 0; x < width; x++, place += 3) {
      const [first, second, a] = across[x];
      at.set([upper * side + first, upper * side + second, lower * side + first, lower * side + second]);
      weights.set([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b]);
      const part = best(coarse) > 0 ? best(fine) : 0;
      if (!part) continue;
      values[place] = part;
      values[place + 1] = Math.min(Math.max(sample(u, part) * 255, 0), 255);
      values[place + 2] = Math.min(Math.max(sample(v, part) * 255, 0), 255);
    }
  }
  return { left, top, width, height, values };
}

// The best class of each pixel, bytes (H, W), of logits (C, H, W).
export function semantic(logits, [classes, height, width]) {
  const found = new Uint8Array(height * width), best = logits.slice(0, height * width);
  for (let label = 1; label < classes; label++) {
    for (let at = 0; at < best.length; at++) {
      const value = logits[label * best.length + at];
      if (value > best[at]) [best[at], found[at]] = [value, label];
    }
  }
  return { width, height, values: found };
}
