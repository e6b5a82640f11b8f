"""Learning the prompts of a decoder for the classes of a bank (`recoseg learn --decoder`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import Concept, ConceptBank
from recoseg.datasets.folder_layout import Pair
from recoseg.datasets.support_folder import find_supports, read_supports
from recoseg.decoder_prompts import DecoderPrompt
from recoseg.decoders.sam3 import Sam3Decoder
from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.errors import OptionError, RecosegError
from recoseg.learning.archive_supports import archive_supports
from recoseg.learning.class_prompt import learn_prompt
from recoseg.learning.one_class import LearnedClass
from recoseg.learning.prompt_cache import PromptCache
from recoseg.learning.supports import typical
from recoseg.progress import track
from recoseg.segmentation.cost import is_out_of_memory

_log = logging.getLogger(__name__)


def own_supports(
    folder: str | Path | None, names: Sequence[str], *, has_decoder: bool
) -> dict[str, list[Pair]]:
    """The photos with masks of one's own, by class; see `find_supports`.

    Args:
        folder: Their folder; None for no such photos.
        names: The classes that are learnt.
        has_decoder: Whether prompts are learnt.

    Raises:
        OptionError: There is a folder but no decoder.
        DatasetError: The folder is not as expected.
    """
    if folder is None:
        return {}
    if not has_decoder:
        raise OptionError(
            "--support gives photos with masks from which the prompts of a decoder are learnt. "
            "Add the decoder: --decoder sam3"
        )
    return find_supports(Path(folder).expanduser(), names)


def tell_lost(former: ConceptBank | None, bank: ConceptBank) -> None:
    """Tell which classes had a prompt and, learnt again without a decoder, have none any more."""
    had = {} if former is None else {one.name: one.prompt for one in former.classes}
    lost = [one.name for one in bank.classes if one.prompt is None and had.get(one.name)]
    if lost:
        _log.warning(
            "The prompts of these classes are not kept, since they were learnt again without "
            "--decoder: %s.",
            ", ".join(lost),
        )


def learn_prompts(
    bank: ConceptBank,
    learnt: Sequence[LearnedClass],
    index: ArchiveIndex,
    decoder: Sam3Decoder,
    encoder: ImageTextEncoder,
    own: Mapping[str, Sequence[Pair]],
    *,
    kept: Path | None = None,
    progress: bool | None = False,
) -> ConceptBank:
    """The bank with prompts of the classes that have just been learnt.

    A class whose prompt cannot be learnt is told in a warning, and stays as it is: segmenting asks
    the decoder for its words.

    Args:
        bank: The bank, which holds the classes.
        learnt: The classes as they were learnt.
        index: The archive, whose photos are supports of classes without masks.
        decoder: The decoder.
        encoder: Says which supports are typical.
        own: Photos with masks of one's own, by class.
        kept: Folder where prompts are kept for the next run; None keeps none.
        progress: See `StageProgress`.
    """
    cache = PromptCache(kept)
    found: dict[str, DecoderPrompt] = {}
    classes = [one for one in learnt if one.concept.role == "class"]
    for one in track(classes, "Learning prompts", unit="classes", enabled=progress):
        name = one.concept.name
        try:
            masks = own.get(name)
            supports = archive_supports(index, one) if masks is None else read_supports(masks)
            chosen = typical(supports, encoder)
            prompt = cache.get(decoder, one.concept.words, chosen)
            if prompt is None:
                prompt = learn_prompt(decoder, one.concept.words, chosen)
                cache.put(decoder, one.concept.words, chosen, prompt)
            found[name] = prompt
        except Exception as error:
            if not isinstance(error, RecosegError) and not is_out_of_memory(error):
                raise
            is_own = isinstance(error, RecosegError)
            reason = str(error).rstrip(".") if is_own else "it needs more memory than there is"
            _log.warning("No prompt was learnt for the class %s: %s.", name, reason)

    def with_prompt(concept: Concept) -> Concept:
        prompt = found.get(concept.name) if concept.role == "class" else None
        return concept if prompt is None else replace(concept, prompt=prompt)

    return replace(bank, concepts=tuple(map(with_prompt, bank.concepts)))
