"""Label spaces: the names, words and colours of the labels of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recoseg.classes import ClassNames
from recoseg.labels import IGNORE_INDEX, Colour


@dataclass(frozen=True)
class LabelClass:
    """One class that is predicted.

    Attributes:
        name: Name of the class in all outputs.
        colour: RGB, 0 to 255.
        prompts: The words of the published protocol, with its renamings; by default the name.
        aliases: Further words, which the protocol `tcl` uses.
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
    """A scored class that consists of several predicted classes.

    Attributes:
        name: Name of the group.
        colour: RGB, 0 to 255.
        members: Names of the predicted classes.
    """

    name: str
    colour: Colour
    members: tuple[str, ...]


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set.

    A prediction is an index into `classes`. If there are groups, predictions are merged after the
    argmax, and the groups are scored (COCO-Stuff: 171 classes, 27 groups).

    Attributes:
        name: Name of the label space.
        title: Title for reports and errors.
        classes: The predicted classes, in the order of the labels.
        groups: The scored groups of classes; empty where the classes themselves are scored.
        background: Name of the class of everything that is not named; None if there is none.
        background_words: The words that the protocol `tcl` uses for background.
        stuff: The predicted classes that are not counted, such as grass; the others are things.
    """

    name: str
    title: str
    classes: tuple[LabelClass, ...]
    groups: tuple[Group, ...] = ()
    background: str | None = None
    background_words: tuple[str, ...] = field(default=())
    stuff: tuple[str, ...] = ()

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
