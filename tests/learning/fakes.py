"""Photos with a patch of one colour, and encoders that see mean colours."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.config import BankSettings, LearnSettings
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.protocols import EncoderInfo
from recoseg.photos.frame import Frame
from tests.building import build_index

SIZE = 48
"""Side of the photos and of the crop in which they are learnt, so that nothing is resampled."""

COLOURS = {
    "rose": (250, 30, 60),
    "grass": (40, 200, 30),
    "sea": (20, 60, 230),
    "sun": (250, 170, 90),
    "violet": (180, 20, 240),
    "sky": (60, 200, 250),
    "road": (250, 220, 20),
}


def centred(values):
    return values / 127.5 - 1


def colour(name):
    """The embedding of a word; an unknown word gets a random embedding."""
    for known, rgb in COLOURS.items():
        if known in name:
            return centred(torch.tensor(rgb, dtype=torch.float32))
    generator = torch.Generator().manual_seed(sum(name.encode()))
    return torch.randn(3, generator=generator)


class Counting:
    """Counts how often each photo is encoded."""

    def __init__(self):
        self.seen = {}

    def count(self, images):
        for image in images:
            key = image.numpy().tobytes()
            self.seen[key] = self.seen.get(key, 0) + 1


class Retrieval(Counting):
    """Embeds a photo as its mean colour, weighted by saturation."""

    def __init__(self, fingerprint="a" * 16):
        super().__init__()
        self.info = EncoderInfo("fake-retrieval", "random", fingerprint, 3)
        self.frame = Frame(SIZE)

    def embed_images(self, images):
        self.count(images)
        pixels = centred(images.float())
        strength = (pixels.amax(1, keepdim=True) - pixels.amin(1, keepdim=True)) ** 4
        return F.normalize((pixels * strength).sum((2, 3)) + 1e-9, dim=1)

    def embed_texts(self, texts):
        return F.normalize(torch.stack([colour(text) for text in texts]), dim=1)


class Saliency(Counting):
    """Mean colour of each cell of 12 pixels."""

    def __init__(self, fingerprint="b" * 16, stride=12):
        super().__init__()
        self.info = EncoderInfo("fake-saliency", "random", fingerprint, 3, stride)

    def features(self, images):
        self.count(images)
        return F.normalize(F.avg_pool2d(centred(images.float()), self.info.stride), dim=1)

    def embed_texts(self, texts):
        return F.normalize(torch.stack([colour(text) for text in texts]), dim=1)


class Phi(Counting):
    """The 4 x 4 colours in each cell of 8 pixels, mixed into 29 numbers, not normalised."""

    def __init__(self, fingerprint="c" * 16, stride=8):
        super().__init__()
        self.info = EncoderInfo("fake-phi", "random", fingerprint, 29, stride)
        generator = torch.Generator().manual_seed(5)
        self.mix = torch.randn(29, 48, generator=generator)

    def features(self, images):
        self.count(images)
        colours = F.pixel_unshuffle(F.avg_pool2d(centred(images.float()), self.info.stride // 4), 4)
        return torch.einsum("cd,ndhw->nchw", self.mix, colours)

    def of_colour(self, name):
        """The features of a cell of one colour."""
        return F.normalize(self.mix @ colour(name).repeat_interleave(16), dim=0)


def make_encoders():
    return Encoders(Retrieval(), Saliency(), (Phi(),))


def make_photo(seed, *patches):
    """Dull coarse noise with patches of 2 x 3 cells of a colour; no two cells are equal."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(40, 216, (24, 24, 3)).astype(float)
    for number, name in enumerate(patches):
        y, x = 4 * generator.integers(0, 2) + 12 * number, 4 * generator.integers(0, 4)
        coarse[y : y + 8, x : x + 12] = COLOURS[name] + generator.normal(0, 12, (8, 12, 3))
    pixels = coarse.clip(0, 255).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    return Image.fromarray(pixels)


PHOTOS = {
    **{f"rose{n}": (n, "rose") for n in range(5)},
    **{f"both{n}": (20 + n, "rose", "sky") for n in range(3)},
    **{f"grass{n}": (40 + n, "grass", "sky") for n in range(4)},
    **{f"sea{n}": (60 + n, "sea") for n in range(4)},
    **{f"sky{n}": (80 + n, "sky") for n in range(3)},
    **{f"road{n}": (90 + n, "road", "violet") for n in range(4)},
}


def make_archive(root, encoder, photos=PHOTOS):
    """An index of generated photos, in order of their names."""
    folder = root / "photos"
    folder.mkdir(parents=True)
    for name, (seed, *patches) in photos.items():
        make_photo(seed, *patches).save(folder / f"{name}.png")
    build_index([folder], root / "index", encoder, precision="fp32", shard_size=7)
    return ArchiveIndex.open(root / "index")


def settings(**changes):
    defaults = {"k": 4, "image_size": SIZE, "prompts": "none", "context": ("sky", "road")}
    return BankSettings(LearnSettings(**(defaults | changes)))


def stem(photo):
    return photo.path.rsplit("/", 1)[-1].removesuffix(".png")
