// The thread that computes, so that the page stays responsive: one message is answered by one.

import { Detector } from "./detector.js";

let detector = null;

const answers = {
  async load({ bytes }) {
    detector = await Detector.load(new Uint8Array(bytes));
    return { classes: detector.facts.classes, notDrawn: detector.notDrawn };
  },
  async predict({ picture, threshold }) {
    const started = performance.now();
    await detector.predict(picture);
    return { ...detector.decode(threshold), milliseconds: performance.now() - started };
  },
  async decode({ threshold }) {
    return detector.decode(threshold);
  },
};

async function answerTo({ number, task, ...content }) {
  try {
    self.postMessage({ number, answer: await answers[task](content) });
  } catch (error) {
    self.postMessage({ number, error: error.message || String(error) });
  }
}

let last = Promise.resolve(); // one after another
self.addEventListener("message", ({ data }) => {
  last = last.then(() => answerTo(data));
});
