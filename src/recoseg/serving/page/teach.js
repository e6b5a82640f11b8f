// A lesson: a name, the archive's photos for it, and what the class that is learnt from them is worth.

import { learn, send } from "./api.js";
import { at, counted, make, percent, reveal, show, tell, tellError } from "./dom.js";
import { leftOut, showTiles } from "./tiles.js";

const PHOTOS = 24;
const PAUSE_MS = 600; // after the last letter, before the archive is searched

const VERDICTS = {
  good: "The archive shows it well.",
  weak: "Only some photos stand out. Leave out those that do not show it, or try other words.",
  "probably absent":
    "Hardly any photo stands out. If these do not show it, try other words; if most do, go on.",
};

/**
 * The lessons.
 *
 * @param {Object} on `tried(job, name)` when a class can be looked at; `kept(name)` when the bank has
 *     it; `dropped()` when it was given up; `known(name)` tells whether the bank has such a class.
 */
export function createLesson(on) {
  const [field, button, stop] = ["name", "learn", "stop"].map(at);
  let server = { index: false, writable: false };
  let rejected = new Set();
  let seen = new Map(); // all photos that were shown, by their rows
  let found = null; // the name that the photos were found for
  let learnt = null; // the result of the last job
  let learntWithout = []; // the rows that it was learnt without
  let work = new AbortController();
  let timer = 0;

  const wanted = () => field.value.trim();
  const headOf = (name) => name.split(/[;:]/)[0].trim();
  const rows = () => [...rejected].sort((one, other) => one - other);

  function describe() {
    const changed = rows().join() !== learntWithout.join();
    const without = leftOut(rejected);
    const name = headOf(found);
    at("tiles-help").textContent = learnt
      ? `A ring marks what these photos have in common. Click those that do not show ${name}, and learn again.${without}`
      : `Click photos that do not show ${name}, to leave them out.${without}`;
    button.textContent = !learnt
      ? `Learn ${name}`
      : `Learn again${rejected.size ? ` without ${counted(rejected.size, "photo")}` : ""}`;
    show(!learnt || changed, button);
    show(learnt !== null && server.writable, at("keep"));
    button.classList.toggle("main", !learnt || changed);
    at("keep").classList.toggle("main", !changed);
    at("keep").textContent = `Keep ${name}`;
  }

  function advise({ verdict, advice }) {
    const name = headOf(found);
    const kind = verdict === "good" ? "badge" : "badge weak";
    const badge = verdict ? make("span", { className: kind }, verdict) : "";
    const known = on.known(name) ? ` The bank has ${name} already; keeping replaces it.` : "";
    at("advice").replaceChildren(badge, ` ${VERDICTS[verdict] ?? advice}${known}`);
  }

  async function find() {
    clearTimeout(timer);
    const name = wanted();
    if (!name || name === found) return;
    const signal = afresh();
    if (headOf(name) !== headOf(found ?? "")) clear();
    on.dropped();
    show(true, at("searching"));
    try {
      const answer = await send("/retrieve", { name, k: PHOTOS }, signal);
      [found, learnt, learntWithout] = [name, null, []];
      showPhotos(answer.photos);
      show(true, at("lesson"));
      advise(answer);
      describe();
      tell(`${counted(answer.photos.length, "photo")} of the archive fit ${headOf(name)} best.`, "quiet");
    } catch (error) {
      tellError(error, find);
    } finally {
      if (work.signal === signal) show(false, at("searching"));
    }
  }

  /** Learns the class: without the photos that are left out now, or, to be kept, as it was tried. */
  async function study(keep) {
    const signal = afresh();
    const [name, without] = [found, keep ? learntWithout : rows()];
    run(keep ? `Keeping ${headOf(name)}` : `Learning ${headOf(name)}`);
    const isCurrent = () => work.signal === signal;
    try {
      const follow = (job) => isCurrent() && showProgress(job);
      const job = await learn({ name, rejected: without, keep }, follow, signal);
      if (!isCurrent()) return;
      rest();
      if (keep) finish(headOf(name));
      else look(job, without);
    } catch (error) {
      if (!isCurrent()) return;
      rest();
      describe();
      tellError(error, () => study(keep));
      if (error.name === "AbortError") tell("Stopped. Nothing was changed.");
    }
  }

  function showProgress({ progress, message }) {
    if (progress) at("progress-bar").value = progress; // until then the bar only moves
    at("progress-text").textContent = progress ? `${percent(progress)}. ${message}` : message;
  }

  function look({ id, result }, without) {
    learnt = result;
    learntWithout = without;
    showPhotos(result.photos);
    advise(result);
    describe();
    tell(`${headOf(found)} was learnt from ${counted(result.photos.length, "photo")}.`, "quiet");
    on.tried(id, result.name);
    (at("keep").hidden ? at("forget") : at("keep")).focus({ preventScroll: true });
  }

  function finish(name) {
    clear();
    field.value = "";
    field.focus({ preventScroll: true });
    on.kept(name).catch(tellError);
  }

  function clear() {
    [rejected, seen] = [new Set(), new Map()];
    [found, learnt, learntWithout] = [null, null, []];
    show(false, at("lesson"));
  }

  /** Shows photos, and after them those that were left out, so that they can be taken back. */
  function showPhotos(photos) {
    const shown = new Set(photos.map(({ row }) => row));
    const others = rows().filter((row) => !shown.has(row)).map((row) => seen.get(row));
    const all = [...photos, ...others];
    for (const photo of all) seen.set(photo.row, { ...photo, seed: null });
    showTiles(all, rejected, describe);
  }

  /** Gives up what is being done, and gives the signal of what follows. */
  function afresh() {
    work.abort();
    work = new AbortController();
    rest();
    return work.signal;
  }

  function run(what) {
    show(false, button, at("keep"), at("forget"));
    show(true, at("progress"), stop);
    for (const tile of at("tiles").children) tile.inert = true;
    field.readOnly = true;
    at("progress-bar").removeAttribute("value");
    at("progress-text").textContent = `${what}.`;
    tell(`${what}.`, "quiet");
    stop.focus({ preventScroll: true });
  }

  function rest() {
    show(false, at("progress"), stop);
    show(true, at("forget"));
    for (const tile of at("tiles").children) tile.inert = false;
    field.readOnly = false;
  }

  at("teach-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!wanted()) {
      tell("Type the name of a class first, for example: zebra.");
      field.focus();
    } else find();
  });
  field.addEventListener("input", () => {
    clearTimeout(timer);
    if (wanted().length > 1) timer = setTimeout(find, PAUSE_MS);
  });
  button.addEventListener("click", () => study(false));
  stop.addEventListener("click", () => {
    at("progress-text").textContent = "Stopping.";
    work.abort();
  });
  at("keep").addEventListener("click", () => study(true));
  at("forget").addEventListener("click", () => {
    clear();
    on.dropped();
    field.value = "";
    field.focus();
  });

  return {
    /** Offers what the server can do. */
    offer(served) {
      server = served;
      show(served.index, at("teach-form"));
      show(!served.index, at("teach-off"));
      at("teach-off").textContent =
        "Teaching needs an index of photos. Make one with recoseg index, and start recoseg serve with --index.";
    },

    /** Begins a lesson with a name, and perhaps other words. */
    begin(words) {
      field.value = words;
      field.focus();
      reveal(at("teach"));
      find();
    },

    keep: () => study(true),
    forget: () => at("forget").click(),
  };
}
