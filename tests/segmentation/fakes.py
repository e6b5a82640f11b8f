"""Encoders that describe a cell by its mean colour, and banks for them."""

import torch
import torch.nn.functional as F

from recoseg.classes import ClassNames
from recoseg.concepts import Concept, ConceptBank
from recoseg.config import BankSettings, Fusion, SegmentSettings
from recoseg.encoders.bundle import EncoderInfos
from recoseg.encoders.protocols import EncoderInfo


class ColourEncoder:
    """Mean RGB of each cell, centred; pads at the right and the bottom by repeating pixels."""

    def __init__(self, stride, name="colour", fingerprint="0" * 16):
        self.info = EncoderInfo(name, "random", fingerprint, 3, stride)
        self.calls = []

    def features(self, images):
        self.calls.append(tuple(images.shape))
        stride = self.info.stride
        h, w = images.shape[2:]
        pad = (0, -w % stride, 0, -h % stride)
        padded = F.pad(images.float() - 127.5, pad, mode="replicate")
        return F.avg_pool2d(padded, stride)

    def embed_texts(self, texts):
        raise AssertionError("the segmenter embeds no texts")


COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}


def unit(name):
    return F.normalize(torch.tensor([COLOURS[name]]) - 127.5, dim=1)


def make_bank(names=("red", "green", "blue"), phi_stride=4, text_stride=6, **settings):
    none = torch.zeros(0, 3)
    infos = [ColourEncoder(stride).info for stride in (text_stride, phi_stride)]

    def concept(name, role, colour):
        references = {infos[1].key: unit(colour)}
        return Concept(ClassNames(name, (name,)), role, references, unit(colour), none)

    concepts = [concept(name, "class", name) for name in names]
    context = concept("sky", "context", "white")
    segment = SegmentSettings(
        fusion=settings.get("fusion", Fusion()), short_side=settings.get("short_side", 0)
    )
    encoders = EncoderInfos(infos[0], infos[0], (infos[1],))
    return ConceptBank((context, *concepts), encoders, BankSettings(segment=segment))


class Stripes:
    """Three columns of regions; the first rows belong to none."""

    key = "stripes"
    needs_features = False
    is_cacheable = True

    def __init__(self):
        self.calls = 0

    def regions(self, photo, pixels, features=()):
        self.calls += 1
        height, width = pixels.shape[1:]
        labels = (torch.arange(width) * 3 // width + 1).int().repeat(height, 1)
        labels[: height // 5] = 0
        return labels
