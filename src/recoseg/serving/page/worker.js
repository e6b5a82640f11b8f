// Works beside the page: decodes photos and label maps, so that large ones never stop the page.

import { histogram, shrunk } from "./masks.js";
import { readGrey } from "./png.js";

const LONGEST = 1280; // pixels of photos and masks on the page

const tasks = { picture, masks };

addEventListener("message", async ({ data: { id, task, given } }) => {
  try {
    const [found, ...transferred] = await tasks[task](given);
    postMessage({ id, found }, transferred);
  } catch (error) {
    postMessage({ id, error: error.message });
  }
});

/** A photo, upright and small enough for the page. */
async function picture(file) {
  const whole = await createImageBitmap(file);
  const [resizeWidth, resizeHeight] = sizeOf(whole);
  const small = await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" });
  whole.close();
  return [small, small];
}

/** A label map and its confidences, small enough for the page, and what can be counted in them. */
async function masks({ labels, confidence, classes }) {
  const [map, sure] = [await readGrey(labels), await readGrey(confidence)];
  const { width, height } = map;
  const whole = { width, height, labels: map.pixels, confidence: sure.pixels };
  const small = shrunk(whole, ...sizeOf(whole));
  const counts = histogram(whole, classes);
  const buffers = [small.labels.buffer, small.confidence.buffer, counts.buffer];
  return [{ map: small, counts, pixels: width * height }, ...buffers];
}

function sizeOf({ width, height }) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  return [width, height].map((side) => Math.max(1, Math.round(side * scale)));
}
