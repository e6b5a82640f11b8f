"""An image-text encoder without weights: a fixed random projection of a tiny photo."""

import time

import torch

from recoseg.encoders.protocols import EncoderInfo
from recoseg.photos.frame import Frame


class FakeEncoder:
    def __init__(self, dim=13, size=8, fingerprint="0123456789abcdef", delay=0.0):
        self.info = EncoderInfo("fake", "random", fingerprint, dim)
        self.frame = Frame(size)
        self.delay = delay
        self.embedded = 0
        self.poison = None
        generator = torch.Generator().manual_seed(0)
        self.projection = torch.randn(3 * size * size, dim, generator=generator)

    def embed_images(self, images):
        self.embedded += len(images)
        time.sleep(self.delay * len(images))
        flat = (images.float() / 255 - 0.5).flatten(1)
        # One row at a time: the same photo gets the same bits in every batch.
        rows = torch.stack([row @ self.projection for row in flat])
        if self.poison is not None:
            rows[(images[:, :, 0, 0] == self.poison).all(1)] = float("nan")
        return torch.nn.functional.normalize(rows, dim=1)

    def embed_texts(self, texts):
        rows = [torch.randn(self.info.dim, generator=_seed(text)) for text in texts]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)


def _seed(text):
    return torch.Generator().manual_seed(sum(text.encode()))
