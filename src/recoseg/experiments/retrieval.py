"""Precision of retrieval on an archive of photos with known classes (paper, figure 3)."""

from __future__ import annotations

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
from recoseg.retrieval.class_texts import ClassTexts, check_index
from recoseg.retrieval.search import top_k
from recoseg.storage.atomic import write_bytes
from recoseg.storage.counts import count_of
from recoseg.storage.fields import to_json
from recoseg.writers.formats import encode_png

KS = (1, 5, 10, 20, 50)


@dataclass(frozen=True)
class RetrievalScores:
    """Precision at k of one index.

    Attributes:
        name: Name of the retrieval encoder.
        classes: Names of the classes that were searched for.
        photos: Number of photos of known class that were searched.
        ks: The values of k.
        precision: Fraction of correct photos among the k best, in [0, 1], for each k; mean over
            the classes.
        ceiling: The same for perfect retrieval; it is below 1 if classes have fewer than k photos.
        by_class: Precision of each class at each k.
    """

    name: str
    classes: tuple[str, ...]
    photos: int
    ks: tuple[int, ...]
    precision: tuple[float, ...]
    ceiling: tuple[float, ...]
    by_class: tuple[tuple[float, ...], ...]


def precision_at(
    ranked: Sequence[Sequence[int]], labels: np.ndarray, ks: Sequence[int]
) -> np.ndarray:
    """Fraction of the k best photos of each class that show the class.

    Args:
        ranked: For each class the positions of the retrieved photos, best first: at least as many
            as the largest k, or the whole archive.
        labels: The class of each photo.
        ks: The values of k.

    Returns:
        (classes, ks), in [0, 1]. As in the paper, the divisor is k even if the archive has fewer
        photos of the class.

    Example:
        >>> precision_at([[0, 2, 1], [1, 0, 2]], np.array([0, 1, 0]), [1, 2]).tolist()
        [[1.0, 1.0], [1.0, 0.5]]
    """
    correct = [labels[list(positions)] == label for label, positions in enumerate(ranked)]
    return np.array([[hits[:k].sum() / k for k in ks] for hits in correct])


def measure_retrieval(
    index: ArchiveIndex,
    encoder: ImageTextEncoder,
    labelled: LabelledArchive,
    prompts: str,
    ks: Sequence[int] = KS,
) -> RetrievalScores:
    """Measure the precision of retrieval for every known class of an index (paper, figure 3).

    Photos of unknown class are left out of the search, since they could be correct or not.

    Args:
        index: The archive.
        encoder: Its retrieval encoder.
        labelled: The known classes of its photos, in the order of the index.
        prompts: Prompt set.
        ks: The values of k.

    Raises:
        RecosegError: The number of labels differs from the number of photos.
        EncoderMismatchError: The encoder did not make the index.
    """
    check_index(index, encoder)
    if len(labelled.labels) != len(index):
        raise RecosegError(
            f"Expected the classes of {count_of(len(index), 'photos')}; got "
            f"{len(labelled.labels):,}."
        )
    kept = [
        label if index.is_selected(position) else None
        for position, label in enumerate(labelled.labels)
    ]
    known = np.array([label is not None for label in kept])
    labels = np.array([label for label in kept if label is not None])
    counts = np.bincount(labels, minlength=len(labelled.names))
    asked = np.flatnonzero(counts)
    labels = np.searchsorted(asked, labels)

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        done = 0
        for start, rows in index.blocks():
            part = rows[known[start : start + len(rows)]]
            yield done, part
            done += len(part)

    names = [labelled.names[label] for label in asked]
    queries = ClassTexts.of(names).queries(encoder, prompts)
    rankings = top_k(blocks(), queries, max(ks))
    by_class = precision_at([r.positions.tolist() for r in rankings], labels, ks)
    ceiling = np.minimum(counts[asked][:, None], ks) / np.array(ks)
    return RetrievalScores(
        name=encoder.info.name,
        classes=tuple(name.name for name in names),
        photos=int(known.sum()),
        ks=tuple(ks),
        precision=tuple(by_class.mean(0).tolist()),
        ceiling=tuple(ceiling.mean(0).tolist()),
        by_class=tuple(tuple(row) for row in by_class.tolist()),
    )


def retrieval_markdown(found: Sequence[RetrievalScores]) -> str:
    """A table in Markdown: each encoder, perfect retrieval, and the paper's numbers."""
    ks = found[0].ks
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
                *(f"{at[str(k)]:g}" if str(k) in at else "-" for k in ks),
            ]
        )
    first = found[0]
    return (
        "\n\n".join(
            [
                "# Precision of retrieval",
                f"{count_of(len(first.classes), 'classes')}, {count_of(first.photos, 'photos')} "
                "of known class; precision at k in per cent, mean over the classes.",
                markdown_table(["retrieval encoder", *(f"@{k}" for k in ks)], rows),
                f"Paper: {paper['on']}. {paper['finding']}",
            ]
        )
        + "\n"
    )


def write_retrieval(folder: Path, found: Sequence[RetrievalScores]) -> str | None:
    """Write `retrieval.md`, `retrieval.json` and `retrieval.png`.

    Returns:
        The reason if the plot could not be drawn; otherwise None.
    """
    write_bytes(folder / "retrieval.md", retrieval_markdown(found).encode())
    fields = {"indexes": [vars(scores) for scores in found]}
    write_bytes(folder / "retrieval.json", to_json(fields))
    curves = {scores.name: [100 * value for value in scores.precision] for scores in found}
    xs = [str(k) for k in found[0].ks]
    try:
        picture = curve_picture(xs, curves, "k", "precision at k, %")
    except MissingExtraError as error:
        return str(error)
    write_bytes(folder / "retrieval.png", encode_png(picture))
    return None
