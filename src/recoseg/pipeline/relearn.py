"""Learning classes again without photos that the user has rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import ConceptBank
from recoseg.errors import ConceptError, RecosegError

REASON = "rejected"
_MOST_NAMED = 5


def without_photos(index: ArchiveIndex, rejected: Sequence[str]) -> ArchiveIndex:
    """The index with some photos left out, for this run only.

    Args:
        index: The index.
        rejected: Paths of photos, or the ends of their paths: `dogs/7.jpg` is the photo
            `/photos/dogs/7.jpg`. Copies of the same content are left out as well.

    Raises:
        RecosegError: A path is that of no photo of the index, or of several different ones.
    """
    wanted = [text.strip().replace("\\", "/") for text in rejected]
    found: dict[str, dict[str, str]] = {text: {} for text in wanted}  # the paths by photo id
    for photo in index.photos():
        path = photo.path.replace("\\", "/")
        for text in wanted:
            if path == text or path.endswith((f"/{text}", f"::{text}")):
                found[text][photo.id] = photo.path
    left_out: dict[str, str] = {}
    for text, photos in found.items():
        exact = {photo_id: path for photo_id, path in photos.items() if path == text}
        chosen = exact or photos
        if not text or not chosen:
            raise RecosegError(
                f"The index holds no photo {text!r}, which is to be rejected. Expected a path as "
                "`recoseg inspect --json` or a contact sheet names it, or the end of one."
            )
        if len(chosen) > 1:
            named = ", ".join(sorted(chosen.values())[:_MOST_NAMED])
            raise RecosegError(
                f"The paths of {len(chosen)} photos end in {text!r}: {named}. Name more of it."
            )
        left_out |= dict.fromkeys(chosen, REASON)
    return index.without(left_out)


def without_classes(bank: ConceptBank, names: Sequence[str]) -> ConceptBank:
    """The bank without classes that are to be learnt again.

    Raises:
        ConceptError: The bank has no class of a name, which may be mistyped.
    """
    try:
        return bank.remove(names)
    except ConceptError as error:
        raise ConceptError(
            f"{error} Only classes of the bank are learnt again; new ones are added without "
            "--relearn."
        ) from error


def in_former_order(former: ConceptBank, bank: ConceptBank) -> ConceptBank:
    """The bank with each class that is also in the former bank at its place there.

    Labels number the classes in order, so that those of a class stay the same when it is learnt
    again.
    """
    places = {(one.role, one.name): at for at, one in enumerate(former.concepts)}
    last = len(places)
    ordered = sorted(bank.concepts, key=lambda one: places.get((one.role, one.name), last))
    return replace(bank, concepts=tuple(ordered))
