"""The label spaces of known data sets, read from the files in `data`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from recoseg.classes import ClassNames, read_classes
from recoseg.datasets.label_space import Group, LabelClass, LabelSpace
from recoseg.drawing.palette import default_palette
from recoseg.errors import ConceptError, DatasetError, UnknownNameError, did_you_mean
from recoseg.labels import BACKGROUND, IGNORE_INDEX

SPACES = (
    "cityscapes27",
    "cityscapes19",
    "kitti_step19",
    "cocostuff171",
    "cocostuff27",
    "cocostuff27_published",
    "coco_object",
    "context59",
    "context60",
    "voc20",
    "voc21",
    "ade150",
    "voc21_community",
    "context60_community",
    "coco_object_community",
    "voc20_community",
    "context59_community",
    "cocostuff171_community",
    "cityscapes19_community",
    "ade150_community",
)
"""Names of the label spaces, each a file `data/NAME.toml`."""


@functools.cache
def label_space(name: str) -> LabelSpace:
    """A label space by its name.

    A file lists its classes, and may add those of another file with `classes_from`: up to and
    including `up_to`, without those in `leave_out`; with `words` they have these words, or else
    their names, instead of prompts and aliases. Groups are listed, or taken from another file
    with `groups_from`; `moved` puts classes into another group. `stuff` names the classes that are
    no things; without it they are those of the other file.

    Raises:
        UnknownNameError: There is no such label space; the message lists all.

    Example:
        >>> label_space("cityscapes27").names[:4]
        ('road', 'sidewalk', 'parking', 'rail track')
        >>> len(label_space("cocostuff27").names), len(label_space("cocostuff27").scored)
        (171, 27)
    """
    if name not in SPACES:
        raise UnknownNameError("label space", name, list(SPACES))
    text = files("recoseg.datasets").joinpath("data", f"{name}.toml").read_text(encoding="utf-8")
    entry = tomllib.loads(text)
    classes = _classes(entry)
    return LabelSpace(
        name,
        entry["title"],
        classes,
        _groups(entry),
        entry.get("background"),
        tuple(entry.get("background_words", ())),
        _stuff(entry, classes),
    )


def _classes(entry: dict[str, Any]) -> tuple[LabelClass, ...]:
    own = tuple(
        LabelClass(
            item["name"],
            tuple(item["colour"]),
            tuple(item.get("prompts", ())),
            tuple(item.get("aliases", ())),
        )
        for item in entry.get("classes", ())
    )
    if "classes_from" not in entry:
        return own
    taken = label_space(entry["classes_from"]).classes
    if "up_to" in entry:
        taken = taken[: [item.name for item in taken].index(entry["up_to"]) + 1]
    kept = tuple(item for item in taken if item.name not in entry.get("leave_out", ()))
    if "words" in entry:
        words = entry["words"]
        kept = tuple(
            LabelClass(item.name, item.colour, tuple(words.get(item.name, (item.name,))))
            for item in kept
        )
    return own + kept


def _stuff(entry: dict[str, Any], classes: Sequence[LabelClass]) -> tuple[str, ...]:
    """The classes of stuff: those that are listed, or else those of the file of the classes."""
    listed = entry.get("stuff")
    if listed is None and "classes_from" in entry:
        listed = label_space(entry["classes_from"]).stuff
    found = {*(listed or ()), *filter(None, [entry.get("background")])}
    return tuple(item.name for item in classes if item.name in found)


def stuff_of(names: Collection[str]) -> tuple[str, ...]:
    """Those of some classes that are stuff in the first label space that has just these classes.

    A class called `background` is stuff in any case.

    Args:
        names: The names of the classes.

    Example:
        >>> stuff_of(("dog", "sky")), stuff_of(label_space("cocostuff171").names)[:2]
        ((), ('banner', 'blanket'))
    """
    known = (label_space(name) for name in SPACES)
    same = next((space for space in known if set(space.names) == set(names)), None)
    found = {BACKGROUND, *(same.stuff if same else ())}
    return tuple(name for name in names if name in found)


def _groups(entry: dict[str, Any]) -> tuple[Group, ...]:
    if "groups_from" not in entry:
        return tuple(
            Group(item["name"], tuple(item["colour"]), tuple(item["members"]))
            for item in entry.get("groups", ())
        )
    moved = entry.get("moved", {})
    return tuple(
        replace(
            group,
            members=tuple(
                name for name in group.members if moved.get(name, group.name) == group.name
            )
            + tuple(name for name, goal in moved.items() if goal == group.name),
        )
        for group in label_space(entry["groups_from"]).groups
    )


def class_lines(space: LabelSpace, *, aliases: bool = False) -> list[ClassNames]:
    """The classes of a label space, with their words, as they are learnt.

    No photos can be retrieved by the name of a background class: with aliases the class gets the
    background words, and without aliases it is left out, unless it has prompts.

    Example:
        >>> [str(line) for line in class_lines(label_space("voc20"), aliases=True)][:2]
        ['aeroplane: aeroplane; airplane', 'bicycle: bicycle; bike']
    """
    lines = []
    for item in space.classes:
        if item.name != space.background or item.prompts:
            lines.append(item.words(aliases=aliases))
        elif aliases and space.background_words:
            lines.append(ClassNames(item.name, space.background_words))
    return lines


def has_aliases(words: Collection[ClassNames], space: LabelSpace) -> bool:
    """Whether classes have the words of later papers, as far as a label space has such words.

    Some of them have aliases of the label space, or all have the names of `NAME_community`.

    Example:
        >>> space = label_space("voc20")
        >>> [has_aliases(class_lines(space, aliases=x), space) for x in (False, True)]
        [False, True]
        >>> has_aliases(class_lines(label_space("voc20_community")), space)
        True
    """
    named = community_of(space.name)
    if named is not None and set(words) <= set(class_lines(label_space(named))):
        return True
    richer = set(class_lines(space, aliases=True)) - set(class_lines(space))
    return not richer or any(item in richer for item in words)


def community_of(name: str) -> str | None:
    """The label space of the same classes in the names of later papers; None if there is none.

    Example:
        >>> community_of("ade150"), community_of("kitti_step19")
        ('ade150_community', None)
    """
    named = f"{name}_community"
    return named if named in SPACES else None


def classes_of(text: str, aliases: bool = False) -> list[ClassNames]:
    """Classes from the name of a label space, or else from a file of classes.

    Args:
        text: A label space such as `cityscapes27`, or a file such as `classes.txt`; `./voc20` is
            always a file.
        aliases: Whether to add the aliases of a label space; see `class_lines`. A file lists the
            words of its classes itself.

    Raises:
        ConceptError: It is neither of both, or the file cannot be used.

    Example:
        >>> str(classes_of("cityscapes27")[2])
        'parking: parking lot'
    """
    if text in SPACES:
        return class_lines(label_space(text), aliases=aliases)
    if not Path(text).is_file():
        near = did_you_mean(text, SPACES)
        raise ConceptError(
            f"{text!r} is neither a file of classes nor a label space.{near} Expected a file with "
            "one class per line; or class names, as 'dog, cat' or, where it looks like a file, as "
            f"{f'{text},'!r}; or one of {', '.join(SPACES)}. In Python, give class names as a "
            f"list: [{text!r}]."
        )
    return read_classes(Path(text))


def space_of(name: str, title: str, classes: Sequence[ClassNames]) -> LabelSpace:
    """A label space of given classes, in colours that are easy to distinguish.

    A class called `background` stands for everything that is not named.

    Raises:
        DatasetError: There are more classes than 8-bit masks have labels.

    Example:
        >>> space_of("pets", "Pets", [ClassNames("cat", ("cat", "kitten"))]).classes[0].prompts
        ('cat', 'kitten')
    """
    if len(classes) > IGNORE_INDEX:
        raise DatasetError(
            f"{title} has {len(classes)} classes; 8-bit masks have at most {IGNORE_INDEX}."
        )
    colours = default_palette(len(classes))
    return LabelSpace(
        name,
        title,
        tuple(
            LabelClass(item.name, colour, item.prompts)
            for item, colour in zip(classes, colours, strict=True)
        ),
        background=next((item.name for item in classes if item.name == BACKGROUND), None),
    )
