// Gives work to the worker, and waits for it.

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let last = 0;

worker.addEventListener("message", ({ data: { id, found, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(found);
  else reject(new Error(error));
});

worker.addEventListener("error", () => {
  for (const { reject } of waiting.values()) reject(new Error("A part of the page did not load."));
  waiting.clear();
});

/**
 * Lets the worker do a task.
 *
 * @param {string} task One of those in `worker.js`.
 * @param {*} given What it works on.
 * @param {ArrayBuffer[]} transferred Parts of it that the page no longer needs.
 */
export function inBackground(task, given, transferred = []) {
  const id = ++last;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, task, given }, transferred);
  });
}
