"""What a server has loaded: a bank or a trained model with its encoders, which stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import ConceptBank
from recoseg.device import resolve_compute
from recoseg.encoders.bundle import Encoders, load_encoders
from recoseg.errors import OptionError
from recoseg.pipeline.index import open_index
from recoseg.pipeline.learn import choose_encoders
from recoseg.pipeline.segment import Segmentable, open_segmenter
from recoseg.retrieval.class_texts import check_index
from recoseg.segmentation.segmenter import Segmenter
from recoseg.training.model import TrainedModel, is_model


@dataclass(frozen=True)
class Current:
    """The classes that photos are segmented into at a time.

    Attributes:
        bank: The bank; None for a trained model.
        segmenter: Segments photos into its classes.
    """

    bank: ConceptBank | None
    segmenter: Segmenter


@dataclass(frozen=True)
class Opened:
    """A bank or a trained model that has been loaded.

    Attributes:
        first: The classes at the start.
        index: The index; None if there is none.
        encoders: The encoders of bank and index; None without an index.
        device: Where they run.
        options: Options of `open_segmenter`.
    """

    first: Current
    index: ArchiveIndex | None
    encoders: Encoders | None
    device: str
    options: Mapping[str, Any]

    def with_bank(self, bank: ConceptBank) -> Current:
        """The classes of another bank with the same encoders."""
        return Current(bank, open_segmenter(bank, encoders=self.encoders, **self.options))


def open_all(
    source: Segmentable,
    index: ArchiveIndex | str | None,
    encoders: Encoders | None,
    *,
    device: str,
    precision: str,
    **options: Any,
) -> Opened:
    """Load what a server serves.

    Args:
        source: The bank or trained model, or its file.
        index: The index, or its path or URL; None for none.
        encoders: Encoders that are loaded already. With an index, all that learning needs are
            loaded by default, and else those that segment.
        device: See `resolve_compute`.
        precision: See `resolve_compute`.
        **options: Options of `open_segmenter`.

    Raises:
        ConceptError: There is no such bank.
        ArchiveError: There is no such index.
        EncoderMismatchError: The index was made with another encoder than the bank.
        OptionError: Classes are to be learnt, but it is a trained model.
    """
    bank = _bank(source, learns=index is not None)
    archive = open_index(index) if isinstance(index, str) else index
    if archive is not None:
        if encoders is None:
            chosen = choose_encoders(archive, bank, None)
            encoders = load_encoders(**chosen, device=device, precision=precision)
        check_index(archive, encoders.retrieval)
        encoders.retrieval.embed_texts(["photo"])  # some load texts late; no search shall wait
    compute = (encoders and encoders.compute) or resolve_compute(device, precision)
    options |= {"device": device, "precision": precision}
    segmenter = open_segmenter(source if bank is None else bank, encoders=encoders, **options)
    return Opened(Current(bank, segmenter), archive, encoders, str(compute.device), options)


def _bank(source: Segmentable, *, learns: bool) -> ConceptBank | None:
    """The bank; None for a trained model, to which no class can be added.

    Raises:
        OptionError: Classes are to be learnt, but it is a trained model.
    """
    if isinstance(source, ConceptBank):
        return source
    if isinstance(source, TrainedModel) or is_model(source):
        if learns:
            raise OptionError(
                "A trained model learns no further classes, so an index would have no effect. "
                "Leave out --index, or serve a concept bank."
            )
        return None
    return ConceptBank.load(source)
