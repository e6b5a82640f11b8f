"""Co-segmentation: pure functions from feature maps to seeds and a reference embedding."""

from recoseg.cosegmentation.checks import CosegmentationError
from recoseg.cosegmentation.cosegment import (
    Cosegmentation,
    SeedChoice,
    cosegment,
    cosegment_several,
)
from recoseg.cosegmentation.guidance import context_elimination, language_guidance
from recoseg.cosegmentation.outliers import distinctive, find_outliers, mend_outliers
from recoseg.cosegmentation.reference import ReferenceForm, reference_embedding
from recoseg.cosegmentation.seeds import Block, select_seeds, support_scores

__all__ = [
    "Block",
    "Cosegmentation",
    "CosegmentationError",
    "ReferenceForm",
    "SeedChoice",
    "context_elimination",
    "cosegment",
    "cosegment_several",
    "distinctive",
    "find_outliers",
    "language_guidance",
    "mend_outliers",
    "reference_embedding",
    "select_seeds",
    "support_scores",
]
