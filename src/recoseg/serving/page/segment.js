// Sends a photo to the server, and reads the masks that come back.

import { ask, call } from "./api.js";
import { inBackground } from "./background.js";

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
  const given = { labels, confidence, classes: rows };
  const { map, counts, pixels } = await inBackground("masks", given, [labels, confidence]);
  signal.throwIfAborted();
  const place = found.labels.replace(/\/[^/]*$/, "");
  const { width, height, classes } = found;
  return { job, width, height, classes, map, counts, pixels, place };
}
