// Works beside the page: reads label maps and confidences, so that large photos never stop the page.

import { histogram, shrunk } from "./masks.js";
import { readGrey } from "./png.js";

addEventListener("message", async ({ data: { id, labels, confidence, classes, longest } }) => {
  try {
    const [map, sure] = [await readGrey(labels), await readGrey(confidence)];
    const { width, height } = map;
    const whole = { width, height, labels: map.pixels, confidence: sure.pixels };
    const scale = Math.min(1, longest / Math.max(width, height));
    const [toWidth, toHeight] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    const small = shrunk(whole, toWidth, toHeight);
    const counts = histogram(whole, classes);
    const buffers = [small.labels.buffer, small.confidence.buffer, counts.buffer];
    postMessage({ id, map: small, counts, pixels: width * height }, buffers);
  } catch (error) {
    postMessage({ id, error: error.message });
  }
});
