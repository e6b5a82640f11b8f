// The classes on the photo: names, shares, and buttons that show one class alone.

import { at, make, percent, show, swatch } from "./dom.js";
import { shareOf } from "./masks.js";

const ALL = 0.999;

/** What is said below the list. */
function noteOn(shares, known) {
  if (!known) return "The bank is still empty. Teach a class that is on this photo.";
  if (!shares.length)
    return "None of the bank's classes was found on this photo. Teach one that is on it.";
  if (shares.reduce((sum, share) => sum + share) < ALL) return "";
  return "Every pixel has the class that it resembles most. Raise the least confidence to leave out what is unsure.";
}

/**
 * The list of what is on the photo.
 *
 * @param {Object} on `hovered(label)` and `picked(label)`.
 */
export function createFound(on) {
  let rows = new Map();
  let segmented = null;

  function row({ label, name, colour }) {
    const share = make("span", { className: "number" });
    const meter = make("span", { className: "meter", "aria-hidden": "true" });
    meter.style.setProperty("--c", colour);
    const text = make("span", { className: "row-name" }, name);
    const properties = { type: "button", className: "row", "aria-pressed": "false" };
    const button = make("button", properties, swatch(colour), text, share, meter);
    button.addEventListener("click", () => on.picked(label));
    button.addEventListener("pointerenter", () => on.hovered(label));
    button.addEventListener("pointerleave", () => on.hovered(null));
    button.addEventListener("focus", () => button.matches(":focus-visible") && on.hovered(label));
    button.addEventListener("blur", () => on.hovered(null));
    return { item: make("li", {}, button), button, share, meter, label };
  }

  return {
    /** Lists the classes of a photo, the largest first; null empties the list. */
    list(result, background, known) {
      segmented = result;
      show(result !== null, at("found"));
      if (result === null) return;
      const there = result.classes
        .filter(({ label }) => label !== background)
        .map((one) => [shareOf(result.counts, one.label, 0, result.pixels), one])
        .filter(([share]) => share > 0)
        .sort(([one], [other]) => other - one);
      rows = new Map(there.map(([, one]) => [one.label, row(one)]));
      at("found-list").replaceChildren(...[...rows.values()].map(({ item }) => item));
      const note = at("found-note");
      note.textContent = noteOn(there.map(([share]) => share), known);
      show(note.textContent !== "", note);
    },

    /** Brings the shares up to date with the threshold. */
    update(least) {
      for (const { label, item, share, meter } of rows.values()) {
        const part = shareOf(segmented.counts, label, least, segmented.pixels);
        share.textContent = percent(part);
        meter.style.setProperty("--share", part);
        item.classList.toggle("gone", part === 0);
      }
    },

    /** Marks the class that is shown alone. */
    mark(hovered, pinned) {
      for (const { label, button } of rows.values()) {
        button.setAttribute("aria-pressed", String(label === pinned));
        button.classList.toggle("hovered", label === hovered);
      }
    },
  };
}
