// Reads grey PNGs of 8 and 16 bits exactly: a canvas would show 16 bits as 8.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * The pixels of a grey PNG.
 *
 * @param {ArrayBuffer} buffer The file.
 * @returns {Promise<{width: number, height: number, pixels: Uint8Array|Uint16Array}>} Row by row.
 * @throws {Error} The file is no such PNG.
 */
export async function readGrey(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (SIGNATURE.some((byte, place) => bytes[place] !== byte)) throw new Error("This is no PNG.");
  const packed = [];
  let header = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = new DataView(buffer, at + 8, length);
    if (kind === "IDAT") packed.push(data);
    at += length + 12;
  }
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const [bits, colour, interlaced] = [header.getUint8(8), header.getUint8(9), header.getUint8(12)];
  if (![8, 16].includes(bits) || colour !== 0 || interlaced)
    throw new Error(`Expected a grey PNG of 8 or 16 bits, got ${bits} bits of kind ${colour}.`);
  const step = bits / 8;
  const rows = unfiltered(await inflated(packed), width * step, height, step);
  return { width, height, pixels: step === 1 ? rows : pairs(rows) };
}

async function inflated(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Undoes the filters of the PNG standard, section 9; each row begins with the number of its filter. */
function unfiltered(raw, stride, height, step) {
  const rows = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    const from = y * (stride + 1) + 1;
    const to = y * stride;
    for (let x = 0; x < stride; x++) {
      const left = x >= step ? rows[to + x - step] : 0;
      const up = y ? rows[to + x - stride] : 0;
      const corner = y && x >= step ? rows[to + x - stride - step] : 0;
      rows[to + x] = raw[from + x] + predicted(filter, left, up, corner);
    }
  }
  return rows;
}

function predicted(filter, left, up, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const [toLeft, toUp] = [Math.abs(up - corner), Math.abs(left - corner)];
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** 16-bit numbers of which the higher byte comes first. */
function pairs(bytes) {
  const numbers = new Uint16Array(bytes.length / 2);
  for (let n = 0; n < numbers.length; n++) numbers[n] = (bytes[2 * n] << 8) | bytes[2 * n + 1];
  return numbers;
}
