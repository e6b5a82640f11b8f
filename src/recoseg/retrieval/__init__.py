"""Photos for each class, by exact search over the archive's embeddings."""

from recoseg.retrieval.queries import Query
from recoseg.retrieval.retriever import Hit, retrieve
from recoseg.retrieval.search import Ranking, top_k
from recoseg.retrieval.sheet import write_contact_sheet

__all__ = ["Hit", "Query", "Ranking", "retrieve", "top_k", "write_contact_sheet"]
