"""Small pictures of every kind that a curation tells apart."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = (192, 160)


def sharp(seed, size=SIZE):
    """Overlapping shapes with edges, under an uneven light and with the noise of a camera."""
    generator = np.random.default_rng(seed)
    large = Image.new("RGB", (2 * size[0], 2 * size[1]), tuple(generator.integers(0, 256, 3)))
    draw = ImageDraw.Draw(large)
    for _ in range(40):
        x, y = generator.integers(0, large.width), generator.integers(0, large.height)
        w, h = generator.integers(10, 90, 2)
        draw.ellipse((x - w, y - h, x + w, y + h), tuple(generator.integers(0, 256, 3).tolist()))
    pixels = np.asarray(large.resize(size, Image.Resampling.BICUBIC), np.float32)
    light = np.linspace(0.6, 1.1, size[0])[None, :, None]
    noise = generator.normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels * light + noise, 0, 255).astype(np.uint8))


def blurred(seed):
    return sharp(seed).filter(ImageFilter.GaussianBlur(5))


def blank(level=200):
    noise = np.random.default_rng(0).normal(0, 1, (SIZE[1], SIZE[0], 3))
    return Image.fromarray((level + noise).clip(0, 255).astype(np.uint8))


def drawn():
    """A diagram: lines and even areas on white."""
    picture = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((20, 20, 90, 90), "red", "black", 3)
    draw.polygon([(110, 140), (140, 40), (180, 140)], "gold", "black")
    draw.line((10, 150, 180, 100), "black", 2)
    return picture
