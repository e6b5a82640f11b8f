"""Small scenes of coloured blocks with truth, as a data set, and slow counts to compare with."""

import numpy as np
from PIL import Image

from recoseg.datasets.label_space import Group, LabelClass, LabelSpace
from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.errors import BadImageError
from recoseg.segmentation.bank_segmenter import bank_segmenter
from tests.segmentation.fakes import COLOURS, ColourEncoder, make_bank

NAMES = ("blue", "red", "green")  # not in the order of the banks
PHI, TEXT = 4, 6


def space(names=NAMES, groups=(), background=None):
    classes = tuple(LabelClass(name, COLOURS.get(name, (9, 9, 9))) for name in names)
    groups = tuple(Group(name, (9, 9, 9), members) for name, members in groups)
    return LabelSpace("blocks", "Blocks", classes, groups, background)


def scene(seed, height=31, width=47, labels=3):
    """Blocks of random colours, and a truth that often has their colour; void at the top."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    pixels = blocks.astype(np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]
    truth = random.integers(0, labels, blocks.shape[:2]).astype(np.uint8)
    target = truth.repeat(8, 0).repeat(8, 1)[:height, :width].copy()
    target[:3, 5:20] = 255
    target.flags.writeable = False  # as arrays of decoded images are
    return Image.fromarray(pixels), target


def sample(name, image, target, read=None):
    """A photo and its truth; either may be an error. Names of photos that are read are noted."""

    def given(value):
        if isinstance(value, str):
            raise BadImageError(value)
        return value

    def read_image():
        if read is not None:
            read.append(name)
        return given(image)

    return Sample(name, read_image, lambda: given(target))


def dataset(scenes, label_space=None, read=None):
    samples = tuple(
        sample(f"town/{number}", image, target, read)
        for number, (image, target) in enumerate(scenes)
    )
    return SegmentationDataset("blocks", "val", label_space or space(), samples)


def segmenter(names=("red", "green", "blue"), phi=None, saliency=None, **options):
    phi, saliency = phi or ColourEncoder(PHI), saliency or ColourEncoder(TEXT)
    return bank_segmenter(make_bank(names), phi=phi, saliency=saliency, **options)


def rows(**segmenters):
    return segmenters or {"plain": segmenter()}


def renamed(labels, names, scored, ignored=255):
    """A segmenter's label map in the labels of the scored names; ignored pixels become 255."""
    found = np.full(labels.shape, 255)
    for place in np.ndindex(labels.shape):
        if labels[place] != ignored:
            found[place] = scored.index(names[labels[place]])
    return found


def count_slowly(preds, target, classes):
    """The confusion matrix pixel by pixel; the last column is for 255."""
    counts = np.zeros((classes, classes + 1), np.int64)
    for place in np.ndindex(target.shape):
        if target[place] != 255:
            counts[target[place], classes if preds[place] == 255 else preds[place]] += 1
    return counts
