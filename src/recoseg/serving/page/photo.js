// Where a photo comes from: chosen, dropped, pasted, or taken from the archive.

import { call } from "./api.js";
import { at, make, tell } from "./dom.js";

const LONGEST = 1600; // pixels of the picture on the page
const FROM_ARCHIVE = 1024;

/** Calls `take` with each photo that the user gives. */
export function listenForPhotos(take) {
  const first = (files) => {
    if (files.length > 1) tell("The page shows one photo at a time, so the first one was taken.");
    if (files.length) take(files[0]);
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
  const row = Math.floor(Math.random() * photos);
  const blob = await (await call(`/photos/${row}?size=${FROM_ARCHIVE}`)).blob();
  return new File([blob], `archive-${row}.jpg`, { type: blob.type });
}

/**
 * A photo as this browser shows it, upright and made small enough for the page.
 *
 * @returns {Promise<ImageBitmap|null>} null if the browser cannot show this kind of photo.
 */
export async function pictureOf(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = make("img", { src: address });
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    const [resizeWidth, resizeHeight] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    return await createImageBitmap(image, { resizeWidth, resizeHeight, resizeQuality: "high" });
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(address);
  }
}
