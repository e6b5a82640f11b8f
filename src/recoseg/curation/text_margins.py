"""How much more a photo resembles some words than their contrasts."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from recoseg.classes import ClassNames

PEOPLE = ClassNames(
    "people",
    (
        "person",
        "people",
        "man",
        "woman",
        "child",
        "girl",
        "boy",
        "portrait of a person",
        "selfie",
        "crowd of people",
        "person in a suit",
        "person in a dress",
        "person wearing a shirt",
        "person wearing jeans",
        "person in a sweatshirt",
        "person in a coat",
        "person in a swimsuit",
        "person wearing sunglasses",
        "person wearing a wig",
        "person wearing a hat",
    ),
)
"""Words for photos that show people. Encoders that were trained on names of things, such as `lite`,
know people by their clothes."""

CONTRASTS = (
    "animal",
    "dog",
    "bird",
    "insect",
    "plant",
    "flower",
    "food",
    "car",
    "aircraft",
    "boat",
    "street",
    "building",
    "furniture",
    "tool",
    "machine",
    "musical instrument",
    "toy",
    "statue",
    "drawing",
    "landscape",
    "water",
    "sky",
)
"""What else photos show; against these words, margins of zero and above mean something."""


def margin(cosines: Float[Tensor, "n a"], contrasts: Float[Tensor, "n b"]) -> Float[Tensor, " n"]:
    """The highest cosine of a photo with some words minus the highest with their contrasts.

    A margin above 0 says that the words fit better than all contrasts, as where an image-text
    model names the photo. It does not depend on the other photos of the archive.

    Args:
        cosines: Cosines of each photo with the words.
        contrasts: Its cosines with the contrasts.

    Returns:
        Margins in [-2, 2].

    Example:
        >>> import torch
        >>> margin(torch.tensor([[0.2, 0.3]]), torch.tensor([[0.25, 0.1]]))
        tensor([0.0500])
    """
    return cosines.amax(1) - contrasts.amax(1)
