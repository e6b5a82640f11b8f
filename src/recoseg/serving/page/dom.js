// Elements of the page. Text comes in as text, never as HTML.

const READING_MS = 7000;
const PASSING = [0, 429, 503]; // no answer, too much to do, being stopped

/** The element with an id. */
export const at = (id) => document.getElementById(id);

/**
 * A new element.
 *
 * @param {string} tag
 * @param {Object} properties Properties of the element; those with a hyphen or named `role` or `for`
 *     become attributes, and those that are null or undefined are left out.
 * @param {...(Node|string|null)} children Texts and elements; null is left out.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Shows the elements or hides them. */
export function show(visible, ...elements) {
  for (const element of elements) element.hidden = !visible;
}

/** The square of a class's colour. */
export function swatch(colour) {
  const square = make("i", { className: "swatch", "aria-hidden": "true" });
  square.style.background = colour;
  return square;
}

let leaving = 0;

/**
 * Tells what happens in a line that screen readers speak.
 *
 * @param {string} text
 * @param {string} kind `error` stays in sight, `quiet` is only spoken because the page shows it too.
 */
export function tell(text, kind = "") {
  const line = at("status");
  line.className = kind;
  line.textContent = text;
  clearTimeout(leaving);
  if (kind !== "error") leaving = setTimeout(() => line.classList.add("old"), READING_MS);
}

/** Tells nothing more. */
export const hush = () => tell("");

/**
 * Tells what went wrong; what was given up on purpose is no fault.
 *
 * @param {Error} error
 * @param {function()|null} again Does the same once more, for faults that may pass.
 */
export function tellError(error, again = null) {
  if (error.name === "AbortError") return;
  tell(error.message, "error");
  if (!again || !PASSING.includes(error.status)) return;
  const button = make("button", { type: "button", className: "small" }, "Try again");
  button.addEventListener("click", () => {
    hush();
    again();
  });
  at("status").append(button);
}

/** A share of 1 in percent. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(100 * share)} %`;
}

/** A number and its noun. */
export const counted = (number, noun) =>
  `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Whether the user wants no motion. */
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Scrolls an element into view if it is not there already. */
export function reveal(element) {
  element.scrollIntoView({ block: "nearest", behavior: still() ? "auto" : "smooth" });
}
