// The classes of the bank: what they are worth, teaching them again, and removing them.

import { call } from "./api.js";
import { at, counted, make, show, swatch, tell, tellError } from "./dom.js";

/**
 * The list of classes.
 *
 * @param {Object} on `again(words)` teaches a class again; `removed(name)` when the bank has lost one.
 */
export function createBank(on) {
  let leaving = null;
  const dialog = at("remove");

  function row({ name, words, colour, verdict, photos }, { index, writable }) {
    const worth = verdict && make("span", { className: verdict === "good" ? "" : "warn" }, verdict);
    const from = photos && `${verdict ? ", " : ""}${counted(photos, "photo")}`;
    const facts = make("span", { className: "faint" }, worth || null, from || null);
    const text = make("span", { className: "row-name" }, name, facts);
    const again = index && action("Teach again", `Teach ${name} again`, () => on.again(words ?? name));
    const remove = writable && action("Remove", `Remove ${name}`, () => confirm(name));
    const parts = [swatch(colour), text, again || null, remove || null];
    return make("li", { className: "row" }, ...parts);
  }

  const action = (text, label, click) => {
    const button = make("button", { type: "button", className: "small", "aria-label": label }, text);
    button.addEventListener("click", click);
    return button;
  };

  function confirm(name) {
    leaving = name;
    at("remove-title").textContent = `Remove ${name}?`;
    dialog.showModal();
    at("remove-no").focus();
  }

  at("remove-no").addEventListener("click", () => dialog.close());
  at("remove-yes").addEventListener("click", async () => {
    dialog.close();
    try {
      await call(`/classes/${encodeURIComponent(leaving)}`, { method: "DELETE" });
      tell(`${leaving} was removed from the bank.`);
      await on.removed(leaving);
      at("bank-summary").focus();
    } catch (error) {
      tellError(error);
    }
  });

  return {
    /** Lists the classes that the server has. */
    list(served) {
      const { classes, background, writable } = served;
      const named = classes.filter(({ label }) => label !== background);
      at("bank-title").textContent = `${counted(named.length, "class").replace(/classs$/, "classes")} in the bank`;
      at("bank-list").replaceChildren(...named.map((one) => row(one, served)));
      show(named.length === 0, at("bank-none"));
      at("bank-none").textContent = "The bank is empty. Teach it a first class.";
      show(!writable, at("bank-note"));
      at("bank-note").textContent =
        "This server does not change its bank. Started with --writable, it keeps and removes classes.";
    },
  };
}
