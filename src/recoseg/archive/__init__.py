"""Photos, and the index of their embeddings."""

from recoseg.archive.indexing import IndexReport, build_index
from recoseg.archive.layout import Failure
from recoseg.archive.store import ArchiveIndex, Photo

__all__ = ["ArchiveIndex", "Failure", "IndexReport", "Photo", "build_index"]
