"""Precision of retrieval on an archive of photos whose classes are known (paper, figure 3)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoseg.archive.index import ArchiveIndex
from recoseg.datasets.labelled import LabelledArchive
from recoseg.drawing.plots import curve_picture
from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.errors import MissingExtraError, RecosegError
from recoseg.evaluation.markdown import markdown_table
from recoseg.experiments.studies import published
from recoseg.files import to_json, write_bytes
from recoseg.retrieval.class_texts import ClassTexts, check_index
from recoseg.retrieval.search import top_k

PLACES = (1, 5, 10, 20, 50)


@dataclass(frozen=True)
class RetrievalScores:
    """Precision at k of one index.

    Attributes:
        name: Name of the retrieval encoder.
        classes: Names of the classes that were searched for.
        photos: Number of photos of known class that were searched.
        places: The values of k.
        precision: Mean precision over the classes at each k, in [0, 1].
        ceiling: Precision of perfect retrieval at each k; below 1 if classes have fewer than k
            photos.
        by_class: Precision of each class at each k.
    """

    name: str
    classes: tuple[str, ...]
    photos: int
    places: tuple[int, ...]
    precision: tuple[float, ...]
    ceiling: tuple[float, ...]
    by_class: tuple[tuple[float, ...], ...]


def precision_at(
    ranked: Sequence[Sequence[int]], labels: np.ndarray, places: Sequence[int]
) -> np.ndarray:
    """Precision at k: the fraction of the k best photos that show the class.

    Args:
        ranked: For each class, the positions of the photos, best first: at least as many as the
            largest k, or all photos of the archive.
        labels: The class of each photo.
        places: The values of k.

    Returns:
        Array of shape (classes, places), in [0, 1]. As in the paper, the number of hits is divided
        by k even if the archive has fewer than k photos of the class.

    Example:
        >>> precision_at([[0, 2, 1], [1, 0, 2]], np.array([0, 1, 0]), [1, 2]).tolist()
        [[1.0, 1.0], [1.0, 0.5]]
    """
    right = [labels[list(positions)] == label for label, positions in enumerate(ranked)]
    return np.array([[hits[:k].sum() / k for k in places] for hits in right])


def measure_retrieval(
    index: ArchiveIndex,
    encoder: ImageTextEncoder,
    labelled: LabelledArchive,
    prompts: str,
    places: Sequence[int] = PLACES,
) -> RetrievalScores:
    """Measure the precision of retrieval for every class that has photos in an index.

    Photos of unknown class are left out of the search, since they can be neither hits nor misses.

    Args:
        index: The archive.
        encoder: The retrieval encoder that made the index.
        labelled: Classes of the photos, in the order of the index.
        prompts: Prompt set.
        places: The values of k.

    Raises:
        RecosegError: The number of labels differs from the number of photos.
        EncoderMismatchError: The encoder did not make the index.
    """
    check_index(index, encoder)
    if len(labelled.labels) != len(index):
        raise RecosegError(
            f"Expected the classes of {len(index):,} photos; got {len(labelled.labels):,}."
        )
    known = np.array([label is not None for label in labelled.labels])
    labels = np.array([label for label in labelled.labels if label is not None])
    counts = np.bincount(labels, minlength=len(labelled.names))
    asked = np.flatnonzero(counts)
    labels = np.searchsorted(asked, labels)

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        done = 0
        for start, rows in index.blocks():
            kept = rows[known[start : start + len(rows)]]
            yield done, kept
            done += len(kept)

    names = [labelled.names[place] for place in asked]
    queries = ClassTexts.of(names).queries(encoder, prompts)
    rankings = top_k(blocks(), queries, max(places))
    by_class = precision_at([r.positions.tolist() for r in rankings], labels, places)
    ceiling = np.minimum(counts[asked][:, None], places) / np.array(places)
    return RetrievalScores(
        name=encoder.info.name,
        classes=tuple(name.name for name in names),
        photos=int(known.sum()),
        places=tuple(places),
        precision=tuple(by_class.mean(0).tolist()),
        ceiling=tuple(ceiling.mean(0).tolist()),
        by_class=tuple(tuple(row) for row in by_class.tolist()),
    )


def retrieval_markdown(found: Sequence[RetrievalScores]) -> str:
    """A table of precision by encoder, its upper bounds, and the paper's numbers."""
    places = found[0].places
    paper = published("retrieval")
    rows: list[list[object]] = []
    for scores in found:
        rows.append([scores.name, *(f"{100 * value:.1f}" for value in scores.precision)])
        rows.append(
            [f"{scores.name}, if perfect", *(f"{100 * value:.1f}" for value in scores.ceiling)]
        )
    for row in paper["rows"]:
        at = row["at"]
        rows.append(
            [
                f"paper: {row['label']}",
                *(f"{at[str(k)]:g}" if str(k) in at else "-" for k in places),
            ]
        )
    first = found[0]
    return (
        "\n\n".join(
            [
                "# Precision of retrieval",
                f"{len(first.classes):,} classes, {first.photos:,} photos of known class; "
                "precision at k in per cent, mean over the classes.",
                markdown_table(["retrieval encoder", *(f"@{k}" for k in places)], rows),
                f"Paper: {paper['on']}. {paper['finding']}",
            ]
        )
        + "\n"
    )


def write_retrieval(folder: Path, found: Sequence[RetrievalScores]) -> str | None:
    """Write `retrieval.md`, `retrieval.json` and `retrieval.png`.

    Returns:
        The reason if the plot could not be drawn, or None.
    """
    write_bytes(folder / "retrieval.md", retrieval_markdown(found).encode())
    fields = {"indexes": [vars(scores) for scores in found]}
    write_bytes(folder / "retrieval.json", to_json(fields))
    curves = {scores.name: [100 * value for value in scores.precision] for scores in found}
    xs = [str(k) for k in found[0].places]
    try:
        picture = curve_picture(xs, curves, "k", "precision at k, %")
    except MissingExtraError as error:
        return str(error)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_bytes(folder / "retrieval.png", buffer.getvalue())
    return None
