"""How the two kinds of scores, by looks and by name, become one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.config import Fusion
from recoseg.errors import RecosegError


def activate_visual(scores: Float[Tensor, "*n c gh gw"], fusion: Fusion) -> Float[Tensor, ...]:
    """What is done to phi's cosines on their grid, before up-sampling."""
    return torch.sigmoid(fusion.visual_scale * scores) if fusion.form == "product" else scores


def activate_text(scores: Float[Tensor, "*n c gh gw"], fusion: Fusion) -> Float[Tensor, ...]:
    """What is done to text scores on their grid, before up-sampling."""
    if fusion.form == "product":
        return torch.sigmoid(fusion.text_scale * scores)
    return fusion.text_weight * scores if fusion.form == "sum" else scores


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
