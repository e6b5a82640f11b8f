"""How the two kinds of scores, by looks and by name, become one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.errors import RecosegError, UnknownNameError

FusionForm = Literal["product", "sum", "visual", "text"]
"""How scores are fused; see `Fusion`."""


@dataclass(frozen=True)
class Fusion:
    """The form of the fusion and its constants, which belong to the pair of encoders.

    Attributes:
        form: `product`: sigmoid(visual_scale * cosine of phi) times sigmoid(text_scale * cosine
            of the text), as published. `sum`: cosine of phi + text_weight * the text score
            standardised at each patch over the classes (mean 0, standard deviation 1); one
            class alone is not standardised. `visual` and `text`: one of the two cosines alone.
        visual_scale: Factor on phi's cosine in the product; 1 is published.
        text_scale: Factor on the text's cosine in the product; 10 is published.
        text_weight: Weight of the standardised text score in the sum.
    """

    form: FusionForm = "product"
    visual_scale: float = 1.0
    text_scale: float = 10.0
    text_weight: float = 0.05

    def __post_init__(self) -> None:
        if self.form not in get_args(FusionForm):
            raise UnknownNameError("fusion", self.form, list(get_args(FusionForm)))

    @property
    def uses_visual(self) -> bool:
        """Whether phi is needed at all."""
        return self.form != "text"

    @property
    def uses_text(self) -> bool:
        """Whether the saliency encoder is needed at all."""
        return self.form != "visual"

    def to_json(self) -> dict[str, Any]:
        """The fields, for a bank or a report."""
        return asdict(self)


def activate_visual(scores: Float[Tensor, "*n c gh gw"], fusion: Fusion) -> Float[Tensor, ...]:
    """What is done to phi's cosines on their grid, before up-sampling."""
    return torch.sigmoid(fusion.visual_scale * scores) if fusion.form == "product" else scores


def activate_text(
    scores: Float[Tensor, "*n c gh gw"],
    fusion: Fusion,
    text_stats: Float[Tensor, "c 2"] | None = None,
) -> Float[Tensor, ...]:
    """What is done to text scores on their grid, before up-sampling.

    Args:
        scores: Text scores, classes on the third axis from the end.
        fusion: The fusion.
        text_stats: For `sum`: each class's mean and standard deviation over some archive. Scores
            are then standardised class by class instead of over the classes of a patch, so that
            a score does not depend on which other classes are asked for.
    """
    if fusion.form == "product":
        return torch.sigmoid(fusion.text_scale * scores)
    if fusion.form != "sum":
        return scores
    if text_stats is not None:
        if tuple(text_stats.shape) != (scores.shape[-3], 2):
            raise RecosegError(
                f"Expected text_stats of shape ({scores.shape[-3]}, 2): mean and standard "
                f"deviation per class; got {tuple(text_stats.shape)}."
            )
        mean, deviation = text_stats.to(scores)[:, :, None, None].unbind(1)
    elif scores.shape[-3] == 1:
        return fusion.text_weight * scores
    else:
        mean = scores.mean(-3, keepdim=True)
        deviation = scores.std(-3, keepdim=True, correction=0)
    return fusion.text_weight * (scores - mean) / deviation.clamp(min=1e-6)


def fuse(
    visual: Float[Tensor, "*n c h w"] | None,
    text: Float[Tensor, "*n c h w"] | None,
    fusion: Fusion,
) -> Float[Tensor, "*n c h w"]:
    """Combine activated, up-sampled scores of the same pixels.

    Args:
        visual: From `activate_visual`; may be None where the form does not use it.
        text: From `activate_text`; likewise.
        fusion: The fusion.

    Returns:
        Fused scores: in (0, 1) for `product`; cosines, plus the text's part, otherwise.

    Raises:
        RecosegError: A part that the form needs is missing.
    """
    for name, part, used in (
        ("visual", visual, fusion.uses_visual),
        ("text", text, fusion.uses_text),
    ):
        if used and part is None:
            raise RecosegError(f"The fusion {fusion.form!r} needs {name} scores; got None.")
    if visual is None or not fusion.uses_visual:
        assert text is not None
        return text
    if text is None or not fusion.uses_text:
        return visual
    return visual * text if fusion.form == "product" else visual + text
