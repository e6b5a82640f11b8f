"""A decoder that finds planted words by their colours, from its prompts alone."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F

from recoseg.decoders.class_maps import of_words
from recoseg.decoders.decoding import Decoded
from recoseg.decoders.instances import none
from recoseg.decoders.sam3 import Prompts

FILLER = 9.0
"""What stands where a word has no token; it must not count."""


class Stub:
    """Finds pixels whose colour is near that of a prompt.

    The first token of a word is its colour, three numbers from -1 to 1, and a fourth that says
    whether the word is known. Only words of two parts have a second token, of the same content. A
    prompt finds a colour if a photo shows it anywhere, and nothing otherwise.

    Args:
        colours: RGB of the known words, 0 to 255.
        side: Side of its input and of its maps, pixels.
    """

    name, origin = "stub", "random"
    compute = SimpleNamespace(device=torch.device("cpu"), precision="fp32")

    def __init__(self, colours, side, fingerprint="d" * 16):
        self.colours, self.side, self.fingerprint = colours, side, fingerprint
        self.asked, self.seen = [], 0

    def prompts(self, words):
        self.asked.append(list(words))
        tokens = torch.full((len(words), 3, 4), FILLER)
        are_words = torch.zeros(len(words), 3, dtype=torch.bool)
        for place, word in enumerate(words):
            parts = word.split()
            rgb = self.colours.get(parts[0])
            own = torch.zeros(4) if rgb is None else torch.tensor([*centred(rgb), 1.0])
            tokens[place, : len(parts)] = own
            are_words[place, : len(parts)] = True
        return Prompts(tokens, are_words)

    def maps(self, images, prompts):
        self.seen += len(images)
        pixels = F.adaptive_avg_pool2d(images.float() / 127.5 - 1, (self.side, self.side))
        found = []
        for tokens, are_words in zip(prompts.tokens, prompts.are_words, strict=True):
            colour = tokens[are_words].mean(0)
            away = (pixels - colour[None, :3, None, None]).norm(dim=1)
            near = colour[3] * (1 - away).clamp(0, 1)
            presence = (near.amax((1, 2), keepdim=True) > 0.5).float()
            found.append(presence * near)
        return torch.stack(found, 1)

    def decode(self, images, prompts, spans, preview=None):
        for maps in self.maps(images, prompts):
            pairs = zip(spans.positive, spans.negative, strict=True)
            own = torch.stack([of_words(maps, *pair) for pair in pairs])
            yield Decoded(own, none((self.side, self.side)))


def centred(rgb):
    return [value / 127.5 - 1 for value in rgb]
