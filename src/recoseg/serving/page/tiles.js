// Photos of the archive as toggle buttons: pressed are those that the class is learnt from.

import { photoOf } from "./api.js";
import { at, counted, make } from "./dom.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/**
 * Shows photos.
 *
 * @param {Object[]} photos `row`, `path`, `score`, and perhaps `seed` as (x, y) in 0 to 1.
 * @param {Set<number>} rejected The rows that are left out; clicks change it.
 * @param {function()} changed Called after each change.
 */
export function showTiles(photos, rejected, changed) {
  const group = at("tiles");
  const tiles = photos.map((photo, n) => tile(photo, `Photo ${n + 1} of ${photos.length}`, rejected, changed));
  tiles.forEach((one, n) => (one.tabIndex = n ? -1 : 0));
  group.replaceChildren(...tiles);
  group.onkeydown = (event) => walk(event, tiles);
}

/** Arrow keys move between photos, of which only one is in the order of the tab key. */
function walk(event, tiles) {
  const now = tiles.indexOf(document.activeElement);
  const columns = tiles.filter((one) => one.offsetTop === tiles[0].offsetTop).length;
  const step = STEPS[event.key] ?? { ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (now < 0 || step === undefined) return;
  event.preventDefault();
  const wanted = Math.abs(step) === columns && columns > 1 ? now + step : clamp(now + step, tiles.length);
  if (!tiles[wanted]) return;
  tiles[now].tabIndex = -1;
  tiles[wanted].tabIndex = 0;
  tiles[wanted].focus();
}

const clamp = (place, length) => Math.min(length - 1, Math.max(0, place));

function tile({ row, path, score, seed }, title, rejected, changed) {
  const file = path.split("/").pop();
  const image = make("img", { alt: "", decoding: "async" });
  const ring = seed ? make("span", { className: "ring-mark", "aria-hidden": "true" }) : null;
  const button = make(
    "button",
    {
      type: "button",
      className: "tile",
      title: `${path}, score ${score.toFixed(2)}`,
      "aria-label": `${title}, ${file}, score ${score.toFixed(2)}${seed ? ", with the common spot marked" : ""}`,
    },
    image,
    ring,
  );
  const press = () => button.setAttribute("aria-pressed", String(!rejected.has(row)));
  button.addEventListener("click", () => {
    if (!rejected.delete(row)) rejected.add(row);
    press();
    changed();
  });
  if (ring) image.addEventListener("load", () => place(ring, seed, image));
  photoOf(row).then(
    (address) => (image.src = address),
    () => button.classList.add("gone"),
  );
  press();
  return button;
}

/** Puts the ring onto its spot of a photo that fills a square and is cut at its longer sides. */
function place(ring, [x, y], { naturalWidth: width, naturalHeight: height }) {
  const short = Math.min(width, height);
  ring.style.left = `${100 * (0.5 + ((x - 0.5) * width) / short)}%`;
  ring.style.top = `${100 * (0.5 + ((y - 0.5) * height) / short)}%`;
}

/** What the user is told about the photos that are left out. */
export const leftOut = (rejected) =>
  rejected.size ? ` ${counted(rejected.size, "photo")} ${rejected.size === 1 ? "is" : "are"} left out.` : "";
