"""Parts of the page that compute something, asked one by one in a real browser."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.learning.fakes import make_photo
from tests.serving.conftest import as_file


@pytest.mark.parametrize("bits", [8, 16])
def test_label_maps_are_read_exactly(visits, address, bits):
    generator = np.random.default_rng(bits)
    labels = generator.integers(0, 2**bits, (13, 7)).astype(f"uint{bits}")
    read = """async (encoded) => {
        const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
        const { readGrey } = await import("/static/png.js");
        const { width, height, pixels } = await readGrey(bytes.buffer);
        return [width, height, [...pixels]];
    }"""
    page = visits(address).page
    for filters in ([0], [1], [2], [3], [4], [4, 2, 0, 3, 1]):
        encoded = base64.b64encode(png(labels, filters)).decode()
        assert Image.open(io.BytesIO(png(labels, filters))).size == (7, 13)
        assert page.evaluate(read, encoded) == [7, 13, labels.ravel().tolist()]
    assert "Expected a grey PNG" in page.evaluate(
        f"(encoded) => ({read})(encoded).catch((error) => error.message)",
        base64.b64encode(as_file(make_photo(1))).decode(),
    )


def png(values, filters):
    """A grey PNG whose rows have these filters in turn, by the definitions of the standard."""
    step = values.itemsize
    rows = values.astype(f">u{step}").view(np.uint8).reshape(len(values), -1).astype(int)
    width = rows.shape[1]
    padded = np.zeros((len(rows) + 1, width + step), int)
    padded[1:, step:] = rows
    left, up, corner = padded[1:, :width], padded[:-1, step:], padded[:-1, :width]
    nearest = np.argmin([abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)], axis=0)
    paeth = np.choose(nearest, [left, up, corner])
    predicted = [np.zeros_like(rows), left, up, (left + up) // 2, paeth]
    raw = b""
    for y, row in enumerate(rows):
        kind = filters[y % len(filters)]
        raw += bytes([kind]) + ((row - predicted[kind][y]) % 256).astype(np.uint8).tobytes()
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8 * step, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_formulas_of_masks(visits, address):
    generator = np.random.default_rng(3)
    labels = np.kron(generator.integers(0, 4, (5, 7)), np.ones((30, 20), int))
    labels[labels == 3] = 255
    sure = generator.integers(0, 256, labels.shape)
    shares, places, small = visits(address).page.evaluate(
        """async ([labels, confidence, width, height]) => {
            const masks = await import("/static/masks.js");
            const map = { width, height, labels: Uint8Array.from(labels),
                          confidence: Uint8Array.from(confidence) };
            const counts = masks.histogram(map, 3);
            const colours = new Map([[0, [1, 2, 3]], [1, [1, 2, 3]], [2, [1, 2, 3]]]);
            const shares = [0, 1, 2].map((one) => masks.shareOf(counts, one, 100, labels.length));
            const places = [...masks.places(map, colours, 0)].map(([one, at]) => [one, at.x, at.y]);
            return [shares, places, [...masks.shrunk(map, 14, 10).labels]];
        }""",
        [labels.ravel().tolist(), sure.ravel().tolist(), labels.shape[1], labels.shape[0]],
    )
    for label, share in enumerate(shares):
        assert share == pytest.approx(((labels == label) & (sure >= 100)).mean())
    assert sorted(label for label, _, _ in places) == [0, 1, 2]
    for label, x, y in places:
        assert labels[int(y * labels.shape[0]), int(x * labels.shape[1])] == label
    assert small == labels[7::15, 5::10].ravel().tolist()
