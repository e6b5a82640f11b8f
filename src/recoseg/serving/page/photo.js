// Where a photo comes from: chosen, dropped, pasted, or taken from the archive.

import { call } from "./api.js";
import { inBackground } from "./background.js";
import { at, tell } from "./dom.js";

const FROM_ARCHIVE = 1024;
const DRAWS = 30; // how often another photo is tried where one cannot be shown

/** Calls `take` with each photo that the user gives, and with a remark on it if there is one. */
export function listenForPhotos(take) {
  const first = async ([file, ...others]) => {
    if (!file) return;
    const remark = others.length ? "The page shows one photo at a time, so it took the first." : "";
    if (await isFile(file)) take(file, remark);
    else tell(`${file.name} cannot be read. Give a single photo rather than a folder.`, "error");
  };
  const input = at("file");
  for (const button of document.querySelectorAll("[data-choose]"))
    button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    first([...input.files]);
    input.value = ""; // so that the same photo can be chosen again
  });
  addEventListener("paste", ({ clipboardData }) => first([...(clipboardData?.files ?? [])]));
  listenForDrops(first);
}

/** Whether it is a file that can be read, which folders are not. */
const isFile = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

function listenForDrops(first) {
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (over) => document.body.classList.toggle("over", over);
  let depth = 0; // of the elements that the photo has been dragged into
  addEventListener("dragenter", (event) => mark(holds(event) && ++depth > 0));
  addEventListener("dragleave", (event) => mark(holds(event) && --depth > 0));
  addEventListener("dragover", (event) => holds(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    depth = 0;
    mark(false);
    if (!holds(event)) return;
    event.preventDefault();
    first([...event.dataTransfer.files]);
  });
}

/** One of the archive's photos, drawn by lot, as a file. */
export async function archivePhoto(photos) {
  for (let left = DRAWS; ; left--) {
    const row = Math.floor(Math.random() * photos);
    try {
      const blob = await (await call(`/photos/${row}?size=${FROM_ARCHIVE}`)).blob();
      return new File([blob], `archive-${row}.jpg`, { type: blob.type });
    } catch (error) {
      if (error.status !== 404 || !left) throw error; // left out by the selection, or unreadable
    }
  }
}

/**
 * A photo as this browser shows it, upright and made small enough for the page.
 *
 * @returns {Promise<ImageBitmap|null>} null if the browser cannot show this kind of photo.
 */
export const pictureOf = (file) => inBackground("picture", file).catch(() => null);
