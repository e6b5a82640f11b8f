// The page: holds what is shown, and passes it to the parts.

import { ask } from "./api.js";
import { createBank } from "./bank.js";
import { at, hush, percent, reveal, show, tell, tellError } from "./dom.js";
import { listenForDownloads, listFormats } from "./download.js";
import { createFound } from "./found.js";
import { shareOf } from "./masks.js";
import { archivePhoto, listenForPhotos, pictureOf } from "./photo.js";
import { segment } from "./segment.js";
import { createStage } from "./stage.js";
import { createLesson } from "./teach.js";

let served = { classes: [], background: null, writable: false, index: false, photos: null };
let file = null;
let picture = null; // of the file, as the browser shows it
let segmented = null;
let trial = null; // { job, name } of a class that is not in the bank yet
let [hovered, pinned] = [null, null];
let work = new AbortController();
const UNUSABLE = [413, 422]; // statuses of photos that no second try makes better

function mark() {
  stage.highlight(hovered ?? pinned);
  found.mark(hovered, pinned);
}

const looks = {
  hovered(label) {
    if (label === hovered) return;
    hovered = label;
    mark();
  },
  picked(label) {
    pinned = label === pinned ? null : label;
    mark();
  },
  moved() {
    found.update(stage.least);
    describeTrial();
  },
};

const stage = createStage(looks);
const found = createFound(looks);
const lesson = createLesson({
  known: (name) => served.classes.some((one) => one.name === name),
  async tried(job, name) {
    trial = { job, name };
    await segmentAgain();
    if (file) reveal(at("stage"));
  },
  async dropped() {
    if (!trial) return;
    trial = null;
    await segmentAgain();
  },
  async kept(name) {
    trial = null;
    await reload();
    tell(`${name} is in the bank now.`);
    await segmentAgain({ quietly: true });
  },
});
const bank = createBank({
  again: lesson.begin,
  async removed() {
    await reload();
    await segmentAgain({ quietly: true });
  },
});

async function take(given, remark = "") {
  const { limits } = served;
  if (limits?.bytes && given.size > limits.bytes) {
    const [size, most] = [given.size, limits.bytes].map((bytes) => (bytes / 1e6).toFixed(1));
    tell(`${given.name} has ${size} MB; the server takes photos of up to ${most} MB.`, "error");
    return;
  }
  const before = { file, picture, segmented };
  file = given;
  const seen = await pictureOf(given);
  if (file !== given) return; // another photo has come meanwhile
  picture = seen;
  segmented = null;
  at("download").disabled = true;
  found.list(null);
  stage.photo(seen);
  const unseen = seen ? "" : "This browser cannot show this kind of photo: its masks stand alone.";
  const remarks = `${remark} ${unseen}`.trim();
  tell(remarks);
  await segmentAgain({ quietly: remarks !== "", instead: before });
}

/** Shows an earlier photo again, because the server cannot use the one that came after it. */
function goBack(before) {
  ({ file, picture, segmented } = before);
  if (!file) return;
  stage.photo(picture);
  if (segmented) showResult();
}

/** Segments the photo on the page, with the class that is tried, and tells what was found. */
async function segmentAgain({ quietly = false, instead = null } = {}) {
  stage.busy(file !== null);
  describeTrial();
  if (!file) return;
  work.abort();
  work = new AbortController();
  const { signal } = work;
  try {
    segmented = await segment(file, trial?.job ?? null, signal);
    showResult();
    if (!quietly) tell(trial ? at("trial-text").textContent : summary(), "quiet");
  } catch (error) {
    if (error.status === 404 && trial) {
      trial = null;
      await segmentAgain();
      tell("The server has forgotten the class that was tried. Learn it again to see it.", "error");
    } else if (instead?.segmented && UNUSABLE.includes(error.status)) {
      goBack(instead);
      tellError(error);
    } else tellError(error, segmentAgain);
  } finally {
    if (work.signal === signal) {
      stage.busy(false);
      describeTrial();
    }
  }
}

function showResult() {
  const { classes } = segmented;
  const tried = trial && classes.find(({ name }) => name === trial.name);
  const there = tried && shareOf(segmented.counts, tried.label, stage.least, segmented.pixels) > 0;
  [hovered, pinned] = [null, there ? tried.label : null];
  at("download").disabled = false;
  stage.result(segmented, served.background);
  found.list(segmented, served.background, served.classes.length);
  found.update(stage.least);
  mark();
  describeTrial();
  stage.describe(`${file.name}: ${summary()}`);
}

function summary() {
  const { classes, counts, pixels } = segmented;
  const shares = classes
    .filter(({ label }) => label !== served.background)
    .map(({ label, name }) => [shareOf(counts, label, stage.least, pixels), name])
    .filter(([share]) => share > 0)
    .sort(([one], [other]) => other - one);
  if (!shares.length) return "None of the classes was found on this photo.";
  return `On this photo: ${shares.map(([share, name]) => `${name} ${percent(share)}`).join(", ")}.`;
}

/** What is said about a class that is tried, and what can be done with it. */
function describeTrial() {
  const bar = at("trial");
  show(trial !== null, bar);
  if (!trial) return;
  at("trial-text").textContent = `${trialFound()} It is only tried so far.`;
  show(served.writable, at("trial-keep"));
}

function trialFound() {
  const { job, name } = trial;
  if (segmented?.job !== job)
    return stage.isBusy ? `Looking for ${name} on this photo.` : `${name} was not looked for here.`;
  const one = segmented.classes.find((other) => other.name === name);
  const share = one ? shareOf(segmented.counts, one.label, stage.least, segmented.pixels) : 0;
  if (share) return `${name} covers ${percent(share)} of this photo.`;
  return `${name} was not found on this photo: its pixels resemble other classes more.`;
}

async function reload() {
  served = await ask("/classes");
  lesson.offer(served);
  bank.list(served);
  show(Boolean(served.index && served.photos), at("from-archive"));
}

async function start() {
  try {
    const [health] = await Promise.all([ask("/health"), reload(), listFormats()]);
    at("served").textContent = `${health.bank.split("/").pop()}, ${health.version}, ${health.device}`;
    at("bank-details").open = served.classes.length > 0 && matchMedia("(min-width: 60rem)").matches;
    document.body.dataset.ready = "yes";
  } catch (error) {
    tellError(error, start);
  }
}

listenForPhotos(take);
listenForDownloads(() => ({
  place: segmented.place,
  threshold: stage.threshold,
  async renew() {
    await segmentAgain();
    return segmented.place;
  },
}));
at("trial-keep").addEventListener("click", lesson.keep);
at("trial-drop").addEventListener("click", lesson.forget);
at("from-archive").addEventListener("click", () => {
  archivePhoto(served.photos).then((photo) => take(photo), tellError);
});
addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || at("remove").open) return;
  hush();
  looks.picked(pinned);
});
start();
