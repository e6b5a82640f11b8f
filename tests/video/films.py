"""Small films of a square that moves, made by PyAV."""

import struct
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")

SIZE = (64, 48)
"""Width and height."""


def picture(number, size=SIZE):
    """A frame: a grey ground, a green square that moves to the right, and a still red one."""
    pixels = np.full((size[1], size[0], 3), 120, np.uint8)
    pixels[8:24, 2 * number : 2 * number + 16] = (0, 200, 0)
    pixels[30:44, 40:60] = (220, 0, 0)
    return pixels


def write_film(path, pictures, times=None, key_every=12):
    """Write a film; times are in tenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"g": str(key_every)})
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 10)
        for number, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path, matrix):
    """Let the film's header say that it is shown turned.

    Args:
        path: The film (MP4).
        matrix: a, b, c, d: a pixel (x, y) is shown at (a x + c y, b x + d y).
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (round(value * 65536) for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
