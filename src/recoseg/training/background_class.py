"""Background as a class that is trained like the others."""

from __future__ import annotations

from dataclasses import replace

from recoseg.errors import RecosegError
from recoseg.labels import BACKGROUND
from recoseg.segmentation.segmenter import Segmenter


def with_background_class(segmenter: Segmenter, *, ignore: bool = False) -> Segmenter:
    """A segmenter that labels what becomes background as a class `BACKGROUND` of its own.

    Pixels that are too ambiguous for any class still have none. Scores, if they are kept, are those
    of `background_scores`. A class of that name that becomes background is this class. A segmenter
    without a threshold and without classes that become background stays as it is.

    Args:
        segmenter: The segmenter.
        ignore: Whether background is to stay without a class.

    Raises:
        RecosegError: A class has that name and does not become background, or there is no
            background to ignore.
    """
    labeller = segmenter.labeller
    if not labeller.background.divides:
        if ignore:
            raise RecosegError(
                "--ignore-background would have no effect, since no pixel becomes background. Give "
                "--threshold or --background, or leave it out."
            )
        return segmenter
    if ignore:
        return segmenter
    if BACKGROUND in labeller.names and BACKGROUND not in labeller.background_names:
        raise RecosegError(
            f"The {segmenter.kind} has a class {BACKGROUND!r}, which would be confused with "
            f"background. Say that it is background (--background {BACKGROUND}), give it another "
            "name, or leave background out of the training (--ignore-background)."
        )
    return replace(
        segmenter,
        labeller=replace(labeller, background_class=BACKGROUND),
        settings={**segmenter.settings, "background_class": BACKGROUND},
        others=tuple(map(with_background_class, segmenter.others)),
    )
