// The server's interface. Errors carry the sentence that the server gave.

const token = new URLSearchParams(location.hash.slice(1)).get("token");
addEventListener("hashchange", () => location.reload()); // another token was pasted

const KEPT_PHOTOS = 400;
const POLL_MS = 350;

/** What the server refused, or that it did not answer (status 0). */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/**
 * Calls the server.
 *
 * @param {string} path As the interface has it, `/classes`; the page may lie below another path.
 * @param {Object} options `method`, `signal`, and `body` (a form) or `json` (an object).
 * @returns {Promise<Response>} A response that is no error.
 * @throws {ApiError}
 */
export async function call(path, { method = "GET", json, body, signal } = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path.replace(/^\/+/, ""), document.baseURI), {
      method,
      headers,
      signal,
      body: json === undefined ? body : JSON.stringify(json),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server did not answer. Is recoseg serve still running?");
  }
  if (!response.ok) throw new ApiError(response.status, await sentence(response));
  return response;
}

async function sentence(response) {
  if (response.status === 401)
    return "The server wants its token. Open the address that recoseg serve has printed, with #token= at its end.";
  try {
    return (await response.json()).error || `The server answered with ${response.status}.`;
  } catch {
    return `The server answered with ${response.status} ${response.statusText}.`;
  }
}

/** The server's answer as an object. */
export const ask = async (path, options) => (await call(path, options)).json();

/** Sends an object, and gives the server's answer as one. */
export const send = (path, json, signal) => ask(path, { method: "POST", json, signal });

const photos = new Map();

/** The address of a photo of the index, made from what the server sends; kept for the next time. */
export function photoOf(row, size = 256) {
  const key = `${row}/${size}`;
  if (!photos.has(key)) {
    const address = call(`/photos/${row}?size=${size}`)
      .then((response) => response.blob())
      .then((blob) => URL.createObjectURL(blob));
    address.catch(() => photos.delete(key));
    photos.set(key, address);
    forgetOldest();
  }
  return photos.get(key);
}

function forgetOldest() {
  if (photos.size <= KEPT_PHOTOS) return;
  const [key, address] = photos.entries().next().value;
  photos.delete(key);
  address.then((url) => URL.revokeObjectURL(url), () => {});
}

/**
 * Starts the learning of a class, and follows it to its end.
 *
 * @param {Object} wanted `name`, `rejected` (rows), `keep`.
 * @param {function(Object)} follow Gets the job whenever it has been asked for.
 * @param {AbortSignal} signal Cancels the job; one that is to be kept is followed to its end, since it
 *     may be too late.
 * @returns {Promise<Object>} The job that is done, with its result.
 */
export async function learn(wanted, follow, signal) {
  const { job } = await send("/learn", wanted);
  const path = `/jobs/${encodeURIComponent(job)}`;
  const stopped = () => new DOMException("The learning was stopped.", "AbortError");
  let cancelled = false;
  for (;;) {
    if (signal.aborted && !cancelled) {
      await call(path, { method: "DELETE" });
      cancelled = true;
      if (!wanted.keep) throw stopped();
    }
    const state = await ask(path);
    if (!cancelled) follow(state);
    if (state.state === "done") return state;
    if (state.state === "failed") throw new ApiError(500, state.error || "The learning failed.");
    if (state.state === "cancelled") throw stopped();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
