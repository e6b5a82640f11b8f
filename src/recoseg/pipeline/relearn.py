"""Learning classes again, without photos or with seeds as the user wants them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import Concept, ConceptBank
from recoseg.errors import ConceptError, OptionError, RecosegError
from recoseg.evidence import Correction

REASON = "rejected"
_MOST_NAMED = 5
_SEED = re.compile(r"(.+):(?:(\d+),(\d+)|(found))", re.DOTALL)

Pixels = Sequence[tuple[int, int]]
"""Seeds of a photo as (x, y), pixels of the whole upright photo."""


def without_photos(index: ArchiveIndex, rejected: Sequence[str]) -> ArchiveIndex:
    """The index with some photos left out, for this run only.

    Args:
        index: The index.
        rejected: Paths of photos, or the ends of their paths: `dogs/7.jpg` is the photo
            `/photos/dogs/7.jpg`. Copies of the same content are left out as well.

    Raises:
        RecosegError: A path is that of no photo of the index, or of several different ones.
    """
    photos = [(photo.id, photo.path) for photo in index.photos()]
    found = _named(photos, rejected)
    left_out: dict[str, str] = {}
    for text, photo_id in found.items():
        if photo_id is None:
            raise RecosegError(
                f"The index holds no photo {text!r}, so it cannot be rejected. Expected a path as "
                "`recoseg inspect --json` or a contact sheet shows it, or the end of one."
            )
        left_out[photo_id] = REASON
    return index.without(left_out)


def _named(photos: Iterable[tuple[str, str]], given: Iterable[str]) -> dict[str, str | None]:
    """The id of the photo that each text names by its path or the end of it; None for none.

    Args:
        photos: Id and path of each photo.
        given: The texts.

    Raises:
        RecosegError: A text is the end of the paths of several different photos.
    """
    wanted = {text: text.strip().replace("\\", "/") for text in given}
    found: dict[str, dict[str, str]] = {text: {} for text in wanted}  # the paths by photo id
    for photo_id, own in photos:
        path = own.replace("\\", "/")
        for text, end in wanted.items():
            if end and (path == end or path.endswith((f"/{end}", f"::{end}"))):
                found[text][photo_id] = path
    ids: dict[str, str | None] = {}
    for text, paths in found.items():
        exact = [photo_id for photo_id, path in paths.items() if path == wanted[text]]
        chosen = exact or list(paths)
        if len(chosen) > 1:
            named = ", ".join(sorted(paths[photo_id] for photo_id in chosen)[:_MOST_NAMED])
            raise RecosegError(
                f"The paths of {len(chosen)} photos end in {text!r}: {named}. Give more of the "
                "path."
            )
        ids[text] = chosen[0] if chosen else None
    return ids


def read_seeds(
    placed: Iterable[str], dropped: Iterable[str]
) -> dict[str, list[tuple[int, int]] | None]:
    """Read seeds as the command line gives them.

    Args:
        placed: Texts such as `birds/7.jpg:120,80`, one for each seed, or `birds/7.jpg:found` for
            those that co-segmentation finds.
        dropped: Photos that are to have no seed.

    Returns:
        What `corrections_of` takes.

    Raises:
        OptionError: A text has another form, or says something else of a photo than another one.
    """
    seeds: dict[str, list[tuple[int, int]] | None] = {}
    for text in placed:
        match = _SEED.fullmatch(text.strip())
        if match is None:
            raise OptionError(
                f"Expected a seed as PHOTO:X,Y, in pixels from the top left of the photo, such as "
                f"birds/7.jpg:120,80, or as PHOTO:found; got {text!r}."
            )
        name, x, y, found = match.groups()
        own = seeds.setdefault(name, None if found else [])
        if (own is None) != bool(found):
            raise OptionError(
                f"The seeds of {name!r} are both set by hand and to be found. Give either "
                "PHOTO:X,Y or PHOTO:found."
            )
        if own is not None:
            own.append((int(x), int(y)))
    for name in dropped:
        if name in seeds:
            raise OptionError(
                f"The seeds of {name!r} are both set (--seed-at) and dropped (--drop-seed). Leave "
                "out one of the two."
            )
        seeds[name] = []
    return seeds


def corrections_for(
    former: ConceptBank | None, names: Sequence[str], seeds: Mapping[str, Pixels | None]
) -> dict[str, tuple[Correction, ...]]:
    """The seeds set by hand of the classes that are learnt again, earlier ones and those given.

    Args:
        former: The bank that holds the classes; None if they are learnt for the first time.
        names: The classes that are learnt.
        seeds: Seeds of the only one of them; see `corrections_of`.

    Raises:
        RecosegError: Seeds are given, but not for one class of the bank; or see `corrections_of`.
    """
    held = {} if former is None else {one.name: one for one in former.classes}
    if not seeds:
        return {name: held[name].corrections for name in names if name in held}
    if len(names) != 1 or names[0] not in held:
        raise RecosegError(
            "Seeds can only be set for a class that is learnt again, one class at a time: "
            f"expected one class of the bank of --add-to, with --relearn; got {', '.join(names)}."
        )
    return {names[0]: corrections_of(held[names[0]], seeds)}


def corrections_of(concept: Concept, seeds: Mapping[str, Pixels | None]) -> tuple[Correction, ...]:
    """The corrections that a class has, changed by those given.

    Args:
        concept: The class as it was learnt.
        seeds: Its seeds by photo: the path, or the end of the path, of a photo that it was learnt
            from. An empty list drops the seed; None takes the seed that is found.

    Raises:
        RecosegError: The class was not learnt from such a photo, or a seed is not a pair of
            pixels.
    """
    photos = {photo.photo_id: photo.path for photo in concept.retrieved}
    kept = {correction.photo_id: correction for correction in concept.corrections}
    ids = _named(photos.items(), seeds)
    for text, pixels in seeds.items():
        photo_id = ids[text]
        if photo_id is None:
            raise RecosegError(
                f"{concept.name!r} was not learnt from a photo {text!r}, so its seed cannot be "
                "set. Expected one of its photos, which `recoseg inspect --json` lists."
            )
        if pixels is None:
            kept.pop(photo_id, None)
            continue
        own = tuple(_pixel(text, pixel) for pixel in pixels)
        kept[photo_id] = Correction(photos[photo_id], photo_id, own)
    return tuple(kept.values())


def _pixel(text: str, pixel: object) -> tuple[int, int]:
    if isinstance(pixel, Sequence) and len(pixel) == 2:
        x, y = pixel
        if isinstance(x, int) and isinstance(y, int):
            return x, y
    raise RecosegError(
        f"Expected the seeds of {text!r} as pairs of whole numbers (x, y); got {pixel!r}."
    )


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
