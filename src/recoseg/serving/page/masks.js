// Formulas of label maps and confidences; they touch neither the page nor the server.

const CELLS = 72; // along the long side, where places of names are looked for
const VEIL = [16, 17, 15, 150]; // over what is not shown alone

/** A label map and its confidence, made smaller: each pixel takes the nearest one. */
export function shrunk({ width, height, labels, confidence }, toWidth, toHeight) {
  const small = {
    width: toWidth,
    height: toHeight,
    labels: new labels.constructor(toWidth * toHeight),
    confidence: new Uint8Array(toWidth * toHeight),
  };
  for (let y = 0; y < toHeight; y++) {
    const row = Math.floor(((y + 0.5) * height) / toHeight) * width;
    for (let x = 0; x < toWidth; x++) {
      const from = row + Math.floor(((x + 0.5) * width) / toWidth);
      small.labels[y * toWidth + x] = labels[from];
      small.confidence[y * toWidth + x] = confidence[from];
    }
  }
  return small;
}

/**
 * How many pixels of each label have each confidence.
 *
 * @returns {Uint32Array} (labels, 256), row by row; larger labels are left out.
 */
export function histogram({ labels, confidence }, classes) {
  const counts = new Uint32Array(classes * 256);
  for (let n = 0; n < labels.length; n++)
    if (labels[n] < classes) counts[labels[n] * 256 + confidence[n]]++;
  return counts;
}

/** The share of all pixels that has a label and at least a confidence, 0 to 255. */
export function shareOf(counts, label, least, pixels) {
  let sum = 0;
  for (let level = least; level < 256; level++) sum += counts[label * 256 + level];
  return pixels ? sum / pixels : 0;
}

/** The label at a pixel, or null where no class is shown. */
export function labelAt(map, x, y, colours, least) {
  const n = y * map.width + x;
  const label = map.labels[n];
  return colours.has(label) && map.confidence[n] >= least ? label : null;
}

/**
 * Paints the masks.
 *
 * @param {ImageData} image What is painted, of the size of the map.
 * @param {Object} map `width`, `height`, `labels`, `confidence`.
 * @param {Map<number, number[]>} colours RGB of the labels that are shown.
 * @param {number} least Pixels of lower confidence, 0 to 255, are left empty.
 * @param {number|null} only The one label that is shown alone; all others lie under a veil.
 */
export function paint(image, map, colours, least, only = null) {
  const { width, height, labels, confidence } = map;
  const kinds = 1 << (8 * labels.BYTES_PER_ELEMENT);
  const [inside, border] = [new Uint32Array(kinds), new Uint32Array(kinds)];
  const visible = new Uint8Array(kinds);
  for (const [label, rgb] of colours) {
    if (only !== null && label !== only) continue;
    visible[label] = 1;
    inside[label] = pixel([...rgb, only === null ? 255 : 180]);
    border[label] = pixel([...(only === null ? rgb.map((part) => part * 0.55) : rgb), 255]);
  }
  const veil = only === null ? 0 : pixel(VEIL);
  const out = new Uint32Array(image.data.buffer);
  const above = new Int32Array(width); // what is shown in the row before; -1 for nothing
  for (let y = 0, n = 0; y < height; y++) {
    let before = -1;
    for (let x = 0; x < width; x++, n++) {
      const label = visible[labels[n]] && confidence[n] >= least ? labels[n] : -1;
      if (label < 0) out[n] = veil;
      else if ((x && before !== label) || (y && above[x] !== label)) out[n] = border[label];
      else out[n] = inside[label];
      above[x] = before = label;
    }
  }
}

/** RGBA as the number that an `ImageData` holds it in (the lowest byte first). */
const pixel = ([red, green, blue, alpha]) =>
  ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/**
 * Where the name of each class is written: in its widest region, as far as possible from the border.
 *
 * @returns {Map<number, {x: number, y: number, room: number}>} Shares of the width and the height;
 *     the room is the distance to the border as a share of the long side.
 */
export function places(map, colours, least) {
  const scale = CELLS / Math.max(map.width, map.height);
  const [width, height] = [map.width, map.height].map((side) => Math.max(1, Math.round(side * scale)));
  const cells = shrunk(map, width, height);
  const labels = Array.from(cells.labels, (label, n) =>
    colours.has(label) && cells.confidence[n] >= least ? label : null,
  );
  const depth = depths(labels, width, height);
  const best = new Map();
  labels.forEach((label, n) => {
    if (label === null || depth[n] <= (best.get(label)?.depth ?? 0)) return;
    best.set(label, { depth: depth[n], x: n % width, y: Math.floor(n / width) });
  });
  for (const [label, { depth, x, y }] of best)
    best.set(label, { x: (x + 0.5) / width, y: (y + 0.5) / height, room: depth / CELLS });
  return best;
}

/** The distance of each cell to the nearest one of another label, in steps; 1 beside it or at the rim. */
function depths(labels, width, height) {
  const depth = new Uint16Array(labels.length);
  const step = (n, x, y, dx, dy) => {
    const [toX, toY] = [x + dx, y + dy];
    const outside = toX < 0 || toY < 0 || toX >= width || toY >= height;
    const other = toY * width + toX;
    return outside || labels[other] !== labels[n] ? 1 : depth[other] + 1;
  };
  for (let y = 0, n = 0; y < height; y++)
    for (let x = 0; x < width; x++, n++)
      depth[n] = Math.min(step(n, x, y, -1, 0), step(n, x, y, 0, -1));
  for (let y = height - 1, n = depth.length - 1; y >= 0; y--)
    for (let x = width - 1; x >= 0; x--, n--)
      depth[n] = Math.min(depth[n], step(n, x, y, 1, 0), step(n, x, y, 0, 1));
  return depth;
}
