// Downloads of the masks in the formats of the server.

import { ApiError, ask, call } from "./api.js";
import { at, make, tell, tellError } from "./dom.js";

/** Lists the formats. */
export async function listFormats() {
  const options = (await ask("/formats")).map(({ name, title }) => make("option", { value: name }, title));
  at("format").replaceChildren(...options);
}

/**
 * Makes the button download.
 *
 * @param {function(): {place: string, threshold: number, renew: function(): Promise<string>}} current
 *     The result on the page; `renew` segments the photo again, because the server keeps few.
 */
export function listenForDownloads(current) {
  const button = at("download");
  button.addEventListener("click", async () => {
    button.setAttribute("aria-busy", "true");
    try {
      const { place, threshold, renew } = current();
      const query = new URLSearchParams({ format: at("format").value, threshold });
      const response = await call(`${place}/download?${query}`).catch(async (error) => {
        if (!(error instanceof ApiError) || error.status !== 404) throw error;
        return call(`${await renew()}/download?${query}`);
      });
      await save(response);
    } catch (error) {
      tellError(error);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}

async function save(response) {
  const name = fileName(response.headers.get("Content-Disposition") ?? "");
  const address = URL.createObjectURL(await response.blob());
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  tell(`${name} was handed to your downloads.`);
}

function fileName(disposition) {
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(disposition);
  if (encoded) return decodeURIComponent(encoded[1]);
  return /filename="?([^";]+)"?/i.exec(disposition)?.[1] ?? "masks";
}
