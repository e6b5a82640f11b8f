// The photo with its masks: drawing, names, sliders, the wipe, and what lies under the pointer.

import { at, make, percent, show } from "./dom.js";
import { labelAt, paint, places, shareOf } from "./masks.js";

const LEAST_ROOM = 0.035; // of the long side, between a name and the border of its region
const [photo, masks, names, frame, handle] = ["photo", "masks", "names", "frame", "handle"].map(at);
const [wipe, opacity, threshold] = ["wipe", "opacity", "threshold"].map(at);

/** RGB of `#rrggbb`. */
const rgb = (colour) => [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16));

/**
 * The stage.
 *
 * @param {Object} on `hovered(label)` and `picked(label)`, with null beside all classes; `moved()`
 *     when the threshold has changed.
 */
export function createStage(on) {
  let result = null;
  let colours = new Map();
  let only = null;
  let due = false;

  const draw = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      if (result) drawNow();
    });
  };

  function drawNow() {
    const { map } = result;
    const context = masks.getContext("2d");
    const image = context.createImageData(map.width, map.height);
    paint(image, map, colours, stage.least, only);
    context.putImageData(image, 0, 0);
    writeNames();
  }

  function writeNames() {
    const found = places(result.map, colours, stage.least);
    const chips = result.classes
      .filter(({ label }) => found.has(label) && (only === null || label === only))
      .filter(({ label }) => label === only || found.get(label).room >= LEAST_ROOM)
      .map((one) => chip(one, found.get(one.label)));
    names.replaceChildren(...chips);
    keepInside(chips, names.getBoundingClientRect());
    hideOverlapping(chips);
  }

  function chip({ label, name, colour }, { x, y }) {
    const share = percent(shareOf(result.counts, label, stage.least, result.pixels));
    const text = make("span", { className: "chip" }, name, make("b", {}, share));
    text.style.left = `${100 * x}%`;
    text.style.top = `${100 * y}%`;
    text.style.setProperty("--c", colour);
    return text;
  }

  const under = ({ clientX, clientY }) => {
    if (!result) return null;
    const box = masks.getBoundingClientRect();
    const [x, y] = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
    if (x < 0 || y < 0 || x >= 1 || y >= 1 || x < wipe.value / 100) return null;
    const { map } = result;
    return labelAt(map, Math.floor(x * map.width), Math.floor(y * map.height), colours, stage.least);
  };

  frame.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.buttons) on.hovered(under(event));
  });
  frame.addEventListener("pointerleave", () => on.hovered(null));
  frame.addEventListener("click", (event) => {
    if (!handle.contains(event.target)) on.picked(under(event));
  });

  const stage = {
    /** The lowest confidence that is shown, from 0 to 1. */
    get threshold() {
      return threshold.value / 100;
    },

    /** The same as the least level of a confidence map, from 0 to 255. */
    get least() {
      return Math.ceil(stage.threshold * 255);
    },

    /** Shows a photo without masks; null where the browser cannot show it. */
    photo(bitmap) {
      result = null;
      names.replaceChildren();
      masks.getContext("2d").clearRect(0, 0, masks.width, masks.height);
      [photo.width, photo.height] = bitmap ? [bitmap.width, bitmap.height] : [800, 600];
      if (bitmap) photo.getContext("2d").drawImage(bitmap, 0, 0);
      fit(photo.width, photo.height);
      show(false, at("drop"));
      show(true, at("shown"));
    },

    /** Shows masks over the photo. */
    result(segmented, background) {
      result = segmented;
      const shown = segmented.classes.filter(({ label }) => label !== background);
      colours = new Map(shown.map(({ label, colour }) => [label, rgb(colour)]));
      [masks.width, masks.height] = [segmented.map.width, segmented.map.height];
      fit(segmented.width, segmented.height);
      draw();
    },

    /** Shows one class alone, or all of them (null). */
    highlight(label) {
      if (label === only) return;
      only = label;
      draw();
    },

    /** Says in words what the picture shows. */
    describe(text) {
      photo.setAttribute("aria-label", text);
    },

    /** Whether masks are on their way. */
    get isBusy() {
      return !at("busy").hidden;
    },

    busy(is) {
      show(is, at("busy"));
      frame.setAttribute("aria-busy", is);
    },
  };

  function adjust() {
    at("opacity-value").textContent = `${opacity.value} %`;
    at("threshold-value").textContent = `${threshold.value} %`;
    for (const slider of [wipe, opacity, threshold])
      slider.setAttribute("aria-valuetext", `${slider.value} %`);
    masks.style.opacity = opacity.value / 100;
    for (const layer of [masks, names]) layer.style.clipPath = `inset(0 0 0 ${wipe.value}%)`;
    handle.style.left = `${wipe.value}%`;
    handle.style.setProperty("--at", wipe.value / 100);
  }

  for (const slider of [wipe, opacity]) slider.addEventListener("input", adjust);
  threshold.addEventListener("input", () => {
    adjust();
    draw();
    on.moved();
  });
  addEventListener("resize", draw);
  letHandleBeDragged();
  adjust();
  return stage;
}

function fit(width, height) {
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.setProperty("--ratio", width / height);
}

/** The handle on the photo moves the same slider as the keyboard does. */
function letHandleBeDragged() {
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  handle.addEventListener("pointermove", ({ pointerId, clientX }) => {
    if (!handle.hasPointerCapture(pointerId)) return;
    const box = frame.getBoundingClientRect();
    wipe.value = (100 * (clientX - box.left)) / box.width;
    wipe.dispatchEvent(new Event("input"));
  });
}

/** Names that would be cut off by the rim of the photo are moved inwards. */
function keepInside(chips, { left, top, right, bottom }) {
  const moved = (from, to, low, high) => Math.max(low - from, 0) + Math.min(high - to, 0);
  const boxes = chips.map((one) => one.getBoundingClientRect());
  chips.forEach((one, n) => {
    const box = boxes[n];
    one.style.marginLeft = `${moved(box.left, box.right, left, right)}px`;
    one.style.marginTop = `${moved(box.top, box.bottom, top, bottom)}px`;
  });
}

/** Of names that overlap, the later ones are hidden; those of larger classes come first. */
function hideOverlapping(chips) {
  const taken = [];
  const boxes = chips.map((one) => one.getBoundingClientRect());
  chips.forEach((one, n) => {
    const box = boxes[n];
    const meets = (other) =>
      box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom;
    if (taken.some(meets)) one.hidden = true;
    else taken.push(box);
  });
}
