"""The formats of other tools, by name."""

from __future__ import annotations

from recoseg.errors import RecosegError, UnknownNameError
from recoseg.formats.coco import Coco, CocoStuff
from recoseg.formats.cvat import Cvat
from recoseg.formats.huggingface import HuggingFace
from recoseg.formats.label_studio import LabelStudio
from recoseg.formats.labelme import LabelMe
from recoseg.formats.panoptic import Panoptic
from recoseg.formats.protocol import Format
from recoseg.formats.voc import Voc
from recoseg.formats.yolo import Yolo

FORMATS: dict[str, type[Format]] = {
    "coco": Coco,
    "coco-stuff": CocoStuff,
    "panoptic": Panoptic,
    "yolo": Yolo,
    "labelme": LabelMe,
    "voc": Voc,
    "cvat": Cvat,
    "label-studio": LabelStudio,
    "huggingface": HuggingFace,
}
"""What writes each format."""


def formats_of(names: list[str], classes: int) -> dict[str, type[Format]]:
    """The formats of some names, each once.

    Args:
        names: The names.
        classes: How many classes there are.

    Raises:
        UnknownNameError: There is no such format; the message lists all.
        RecosegError: No name is given, or a format holds fewer classes.
    """
    if not names:
        raise RecosegError(f"No format is given. Expected one or more of {', '.join(FORMATS)}.")
    found = {}
    for name in names:
        if name not in FORMATS:
            raise UnknownNameError("format", name, list(FORMATS))
        found[name] = FORMATS[name]
        most = found[name].most_classes
        if classes > most:
            raise RecosegError(
                f"The format {name} holds at most {most:,} classes; the masks have {classes:,}. "
                "Choose another format."
            )
    return found
