"""Label spaces: what the labels of a data set are called, said with and painted as."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recoseg.classes import ClassNames
from recoseg.labels import IGNORE_INDEX, Colour


@dataclass(frozen=True)
class LabelClass:
    """One class that is predicted.

    Attributes:
        name: What it is called in every output.
        colour: RGB, 0 to 255.
        prompts: The words of the published protocol, renamings applied; the name by default.
        aliases: Further words, as the community's protocol uses them.
    """

    name: str
    colour: Colour
    prompts: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def words(self, *, aliases: bool = False) -> ClassNames:
        """The class with its words, for learning and for text embeddings."""
        words = self.prompts or (self.name,)
        return ClassNames(self.name, tuple(dict.fromkeys((*words, *(self.aliases * aliases)))))


@dataclass(frozen=True)
class Group:
    """A class that is scored and that several predicted classes belong to.

    Attributes:
        name: What it is called.
        colour: RGB, 0 to 255.
        members: Names of the predicted classes.
    """

    name: str
    colour: Colour
    members: tuple[str, ...]


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set.

    A prediction is the index of one of `classes`. Where there are groups, predictions are merged
    after the argmax and the groups are what is scored (COCO-Stuff: 171 names, 27 groups).

    Attributes:
        name: What the label space is asked for by.
        title: For people.
        classes: What is predicted, in the order of the labels.
        groups: What is scored, where that differs.
        background: Name of the class that stands for everything that is not named, or None.
        background_words: What the community's protocol takes for background.
    """

    name: str
    title: str
    classes: tuple[LabelClass, ...]
    groups: tuple[Group, ...] = ()
    background: str | None = None
    background_words: tuple[str, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes that are predicted."""
        return tuple(item.name for item in self.classes)

    @property
    def scored(self) -> tuple[str, ...]:
        """Names of the classes that are scored: the groups, or the classes."""
        return tuple(item.name for item in self.groups or self.classes)

    @property
    def palette(self) -> tuple[Colour, ...]:
        """Colours of the classes that are scored."""
        return tuple(item.colour for item in self.groups or self.classes)

    def merge_table(self) -> np.ndarray:
        """From predicted to scored labels: (256,) uint8, 255 where there is no class.

        Example:
            >>> animals = Group("animal", (0, 0, 0), ("cat", "dog"))
            >>> classes = tuple(LabelClass(name, (0, 0, 0)) for name in ("dog", "cat"))
            >>> LabelSpace("pets", "Pets", classes, (animals,)).merge_table()[:3].tolist()
            [0, 0, 255]
        """
        table = np.full(256, IGNORE_INDEX, np.uint8)
        places = {
            member: place for place, group in enumerate(self.groups) for member in group.members
        }
        for label, name in enumerate(self.names):
            table[label] = places[name] if self.groups else label
        return table
