"""What studies start from: encoders that see colours, an archive and photos with ground truth."""

from dataclasses import replace

import numpy as np

from recoseg.classes import ClassNames
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.datasets.spaces import space_of
from recoseg.evaluation.protocols import protocol_of
from recoseg.experiments.studies import Baseline
from recoseg.experiments.study import Setup
from recoseg.regions.superpixels import Slic
from recoseg.segmentation.voting import Voting

from ..learning.fakes import COLOURS, SIZE, Phi, make_encoders, make_photo
from ..segmentation.test_memory_branch import make_memory

CLASSES = (
    ClassNames("rose", ("rose",)),
    ClassNames("grass", ("grass",)),
    ClassNames("lake", ("sea",)),
)
NATIVE = protocol_of("native", "colours")


def make_setup(archive, name="one"):
    settings = BankSettings(
        LearnSettings(k=4, image_size=SIZE, prompts="none", context=("sky", "road")),
        SegmentSettings(Fusion(), short_side=0, refine_temperature=0.05),
    )
    return Setup(archive, make_encoders(), settings, name)


def make_dataset(photos=5):
    """Photos of two classes each; the ground truth of a pixel is the class of similar colour."""
    samples = []
    for number in range(photos):
        image = make_photo(200 + number, "rose", "grass" if number % 2 else "sea")
        pixels = np.asarray(image).astype(float)
        target = np.full(pixels.shape[:2], 255, np.uint8)
        for label, name in enumerate(("rose", "grass", "sea")):
            target[np.abs(pixels - COLOURS[name]).max(-1) < 60] = label
        samples.append(Sample(f"photo{number}", lambda i=image: i, lambda t=target: t))
    space = space_of("colours", "Colours", CLASSES)
    return SegmentationDataset("colours", "all", space, tuple(samples))


def labels_of(rows):
    return [row.label for row in rows]


def recipe_baseline(archive, root, fusion="sum"):
    """All that the study of the recipe can use: two phi, regions and a memory of the first phi."""
    setup = make_setup(archive)
    segment = replace(setup.settings.segment, fusion=Fusion(fusion))
    setup = replace(setup, settings=replace(setup.settings, segment=segment))
    encoders = replace(setup.encoders, phi=(*setup.encoders.phi, Phi("d" * 16, stride=12)))
    memory = make_memory(root, setup.encoders.info.phi, [setup.encoders.saliency.info])
    return Baseline(
        (setup,),
        CLASSES,
        ("pamr", "crf"),
        together=replace(setup, encoders=encoders, name="both"),
        voting=Voting(Slic(20)),
        memory=memory,
    )
