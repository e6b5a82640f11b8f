"""Which classes of a bank become background, and which context classes compete for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from recoseg.classes import shared_words
from recoseg.concepts import Concept, ConceptBank
from recoseg.errors import OptionError
from recoseg.segmentation.label_maps import class_indices
from recoseg.storage.listed import names_in

CONTEXT = "context"
"""As the name of a background class: the context classes that share no word with a class."""

_log = logging.getLogger(__name__)


def background_names(bank: ConceptBank, background: Sequence[str]) -> tuple[str, ...]:
    """The names of all classes that become background.

    `context` stands for all context classes but those that share a word with a class of the bank,
    which would erase it; they are named in a note. A context class that is given by its own name
    competes in any case.

    Args:
        bank: The bank.
        background: Names of classes, of context classes, or `context`; or one text of names with
            commas between them.

    Raises:
        OptionError: A name is not in the bank, or `context` is given to a bank without any.
    """
    if isinstance(background, str):
        background = names_in(background)
    names = [concept.name for concept in bank.classes]
    context = [concept.name for concept in bank.context]
    is_wanted = CONTEXT in background
    if is_wanted and not context and CONTEXT not in names:
        raise OptionError(
            "The bank has no context classes, so --background context would have no effect. Leave "
            "it out, or learn a bank with --context."
        )
    given = [name for name in background if name != CONTEXT or CONTEXT in names]
    found = list(dict.fromkeys([*given, *(_free(bank, given) if is_wanted else [])]))
    valid = [*names, *context, *([CONTEXT] if context else [])]
    class_indices([*names, *context], found, list(dict.fromkeys(valid)))
    return tuple(found)


def competing_context(bank: ConceptBank, becoming: Sequence[str]) -> list[Concept]:
    """The context classes that get scores, although they are not classes of the bank.

    Args:
        bank: The bank.
        becoming: The names of all classes that become background.
    """
    names = [concept.name for concept in bank.classes]
    return [one for one in bank.context if one.name in becoming and one.name not in names]


def _free(bank: ConceptBank, given: Sequence[str]) -> list[str]:
    """The context classes that share no word with a class, unless that is background itself."""
    own = [concept for concept in bank.classes if concept.name not in given]
    free: list[str] = []
    for context in bank.context:
        alike = [one.name for one in own if shared_words(one.words, context.words)]
        if alike and context.name not in given:
            _log.warning(
                "The context class %s shares words with %s and does not become background; your "
                'own classes win. With --background "context, %s" it becomes background all the '
                "same, and so does a class of your own of that name.",
                context.name,
                ", ".join(alike),
                context.name,
            )
        else:
            free.append(context.name)
    return free
