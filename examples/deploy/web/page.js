// The page: a model file, then pictures, a camera or a video; `?model=ADDRESS` loads a file of the same site.

import { draw } from "./draw.js";

const part = (id) => document.getElementById(id);
const level = () => Number(part("threshold").value);
const worker = new Worker("worker.js", { type: "module" });
const asked = new Map();
let count = 0, source = 0, picture = null, broken = "";

// What the page shows; `frames` counts the pictures that were drawn.
export const state = { answer: null, frames: 0 };

function report(text, failed = false) {
  part("status").textContent = text;
  part("status").className = failed ? "error" : "";
}

function ask(task, content, moved = []) {
  if (broken) return Promise.reject(new Error(broken));
  return new Promise((resolve, reject) => {
    asked.set(++count, { resolve, reject });
    worker.postMessage({ number: count, task, ...content }, moved);
  });
}

worker.addEventListener("message", ({ data }) => {
  const { resolve, reject } = asked.get(data.number);
  asked.delete(data.number);
  if (data.error) reject(new Error(data.error));
  else resolve(data.answer);
});
worker.addEventListener("error", () => {
  broken = "onnxruntime-web could not be loaded; run `npm install` in the folder of this page";
  for (const { reject } of asked.values()) reject(new Error(broken));
  report(broken, true);
});

function show(answer) {
  state.answer = answer;
  state.frames += 1;
  draw(part("canvas"), picture.source, picture, answer);
  part("canvas").hidden = false;
  part("hint").hidden = true;
  const counts = new Map();
  for (const { name } of answer.objects) counts.set(name, (counts.get(name) || 0) + 1);
  part("counts").replaceChildren();
  for (const [name, number] of [...counts].sort()) {
    const row = part("counts").insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = number;
  }
}

async function loadModel(name, content) {
  stop();
  picture = null;
  report(`Loading ${name} ...`);
  try {
    const bytes = await content();
    const { classes, notDrawn } = await ask("load", { bytes }, [bytes]);
    for (const id of ["file", "camera"]) part(id).disabled = false;
    const others = notDrawn.length ? `; not drawn: ${notDrawn.join(", ")}` : "";
    report(`${name}: ${classes.length} classes${others}`);
  } catch (error) {
    report(`${name}: ${error.message}`, true);
  }
}

// The RGBA pixels of anything that drawImage takes.
function pixelsOf(shown, width, height) {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(shown, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

async function predict(shown, width, height) {
  const answer = await ask("predict", { picture: pixelsOf(shown, width, height), threshold: level() });
  return { answer, picture: { source: shown, width, height } };
}

async function predictPicture(file) {
  const own = stop();
  report("Predicting ...");
  try {
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Error("is no picture or video that this browser reads");
    });
    const found = await predict(bitmap, bitmap.width, bitmap.height);
    if (own !== source) return; // another picture was chosen meanwhile
    picture = found.picture;
    show(found.answer);
    report(`${Math.round(found.answer.milliseconds)} ms`);
  } catch (error) {
    if (own === source) report(`${file.name}: ${error.message}`, true);
  }
}

// Wait for the next frame of a video, or its end.
function nextFrame(video) {
  return new Promise((resolve) => {
    if (video.ended) resolve();
    video.requestVideoFrameCallback(resolve);
    video.addEventListener("ended", resolve, { once: true });
  });
}

// Frames of a video or a camera, one after another: those that come while one is computed are left out.
async function follow(start) {
  const own = stop(), video = part("video");
  try {
    await start(video);
    await video.play();
    part("stop").hidden = false;
    for (let ended = false; !ended; ) {
      await nextFrame(video);
      if (own !== source) return;
      ended = video.ended; // its last frame is computed, too
      const frame = await createImageBitmap(video);
      const found = await predict(frame, frame.width, frame.height);
      if (own !== source) return;
      picture?.source.close?.();
      picture = found.picture;
      show(found.answer);
      report(`${Math.round(found.answer.milliseconds)} ms, ${video.currentTime.toFixed(1)} s`);
    }
    part("stop").hidden = true;
  } catch (error) {
    if (own !== source) return;
    stop();
    report(error.message || String(error), true);
  }
}

// End the camera or video; returns the number of the source that comes next.
function stop() {
  const video = part("video");
  video.pause();
  for (const track of video.srcObject?.getTracks() || []) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  part("stop").hidden = true;
  return ++source;
}

function open(file) {
  if (file.name.endsWith(".onnx")) return loadModel(file.name, () => file.arrayBuffer());
  if (part("file").disabled) return report("Choose a model first: an .onnx file of det export", true);
  if (!file.type.startsWith("video/")) return predictPicture(file);
  return follow(async (video) => {
    video.src = URL.createObjectURL(file);
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new Error(`${file.name}: is no video that this browser reads`));
    });
  });
}

async function openCamera(video) {
  if (!navigator.mediaDevices) throw new Error("a camera needs https, or localhost");
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
}

part("threshold").addEventListener("input", async () => {
  part("level").value = level().toFixed(2);
  if (!picture || !part("stop").hidden) return; // the next frame has it
  const own = source, answer = await ask("decode", { threshold: level() });
  if (own === source) show(answer);
});
part("model").addEventListener("change", ({ target }) => target.files[0] && open(target.files[0]));
part("file").addEventListener("change", ({ target }) => target.files[0] && open(target.files[0]));
part("camera").addEventListener("click", () => follow(openCamera));
part("stop").addEventListener("click", stop);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  part("drop").addEventListener(name, (event) => {
    event.preventDefault();
    part("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
}

const address = new URL(location.href).searchParams.get("model");
if (address) {
  loadModel(address, async () => {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return response.arrayBuffer();
  });
}
