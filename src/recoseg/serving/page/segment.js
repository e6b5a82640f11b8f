// Sends a photo to the server, and reads the masks that come back.

import { ask, call } from "./api.js";

const LONGEST = 1600; // pixels of the masks on the page

const reader = new Worker(new URL("reader.js", import.meta.url), { type: "module" });
const waiting = new Map();
let last = 0;

reader.addEventListener("message", ({ data }) => {
  const { resolve, reject } = waiting.get(data.id);
  waiting.delete(data.id);
  if (data.error) reject(new Error(`The masks cannot be read: ${data.error}`));
  else resolve(data);
});

function read(labels, confidence, classes) {
  const id = ++last;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    const message = { id, labels, confidence, classes, longest: LONGEST };
    reader.postMessage(message, [labels, confidence]);
  });
}

/**
 * Segments a photo.
 *
 * @param {File} file
 * @param {string|null} job A class that is tried, by the job that has learnt it.
 * @param {AbortSignal} signal
 * @returns {Promise<Object>} `job`, `width`, `height`, `classes`, the small `map`, the histogram `counts`
 *     of all `pixels`, and `place`, the address of the result.
 */
export async function segment(file, job, signal) {
  const form = new FormData();
  form.set("photo", file, file.name || "photo");
  form.set("format", "layers");
  if (job) form.set("job", job);
  const found = await ask("/segment", { method: "POST", body: form, signal });
  const files = [found.labels, found.confidence].map(async (path) =>
    (await call(path, { signal })).arrayBuffer(),
  );
  const [labels, confidence] = await Promise.all(files);
  const rows = Math.max(0, ...found.classes.map((one) => one.label + 1));
  const { map, counts, pixels } = await read(labels, confidence, rows);
  const place = found.labels.replace(/\/[^/]*$/, "");
  const { width, height, classes } = found;
  return { job, width, height, classes, map, counts, pixels, place };
}
