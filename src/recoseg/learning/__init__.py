"""From class names and an archive to a concept bank: the paper's figure 2, left."""

from recoseg.learning.cache import FeatureCache
from recoseg.learning.extraction import Extraction, dense_worker
from recoseg.learning.learner import Encoders, Learnt, learn
from recoseg.learning.patches import PatchStore

__all__ = [
    "Encoders",
    "Extraction",
    "FeatureCache",
    "Learnt",
    "PatchStore",
    "dense_worker",
    "learn",
]
