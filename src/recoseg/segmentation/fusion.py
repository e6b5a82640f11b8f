"""How the scores of several branches become one score per class and pixel."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.config import Fusion
from recoseg.errors import UnknownNameError

OnGrid = Callable[[Float[Tensor, "*n c gh gw"], Fusion], Float[Tensor, "*n c gh gw"]]
"""What is done to the scores of a branch on their grid, with the constants of the fusion."""

Combine = Callable[[Sequence[Float[Tensor, "*n c h w"]]], Float[Tensor, "*n c h w"]]
"""How up-sampled scores of the same pixels become one; at least one is given."""


@dataclass(frozen=True)
class FusionRule:
    """One form of fusion.

    Attributes:
        on_grid: By kind of branch (see `Branch`), what is done to the scores before they are
            up-sampled. Branches of other kinds are not used.
        combine: How the up-sampled scores of all used branches become one.
        optional: The kinds that are used where there are such branches.
    """

    on_grid: Mapping[str, OnGrid]
    combine: Combine
    optional: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of branches of which the rule needs at least one each."""
        return tuple(kind for kind in self.on_grid if kind not in self.optional)


def _unchanged(scores: Tensor, _: Fusion) -> Tensor:
    return scores


def _visual_sigmoid(scores: Tensor, fusion: Fusion) -> Tensor:
    return torch.sigmoid(fusion.visual_scale * scores)


def _text_sigmoid(scores: Tensor, fusion: Fusion) -> Tensor:
    return torch.sigmoid(fusion.text_scale * scores)


def _text_weighted(scores: Tensor, fusion: Fusion) -> Tensor:
    return fusion.text_weight * scores


def _memory_weighted(scores: Tensor, fusion: Fusion) -> Tensor:
    return fusion.memory_weight * scores


def _photo_weighted(scores: Tensor, fusion: Fusion) -> Tensor:
    return fusion.photo_weight * scores


def _decoder_weighted(scores: Tensor, fusion: Fusion) -> Tensor:
    return fusion.decoder_weight * scores


def _multiply(parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.mul, parts)


def _add(parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)


def _log_softmax(parts: Sequence[Tensor]) -> Tensor:
    return _add(parts).log_softmax(-3)


def _sum(on_grid: Mapping[str, OnGrid]) -> FusionRule:
    """A sum, to which scores by a memory, the whole photo and a decoder are added if given."""
    optional: dict[str, OnGrid] = {
        "memory": _memory_weighted,
        "photo": _photo_weighted,
        "decoder": _decoder_weighted,
    }
    return FusionRule({**on_grid, **optional}, _add, tuple(optional))


FUSIONS: dict[str, FusionRule] = {
    "product": FusionRule(
        {"visual": _visual_sigmoid, "text": _text_sigmoid, "decoder": _unchanged},
        _multiply,
        ("decoder",),
    ),
    "sum": _sum({"visual": _unchanged, "text": _text_weighted}),
    "visual": _sum({"visual": _unchanged}),
    "text": _sum({"text": _unchanged}),
    "decoder": FusionRule({"decoder": _unchanged}, _add),
    "logits": FusionRule({"model": _unchanged}, _log_softmax),
}
"""The forms of fusion: those of `FusionForm` for concept banks, and `logits` for trained models,
whose scores before the softmax become logarithms of probabilities. Fused scores lie in (0, 1) for
`product` and `decoder`; for `sum`, `visual` and `text` they are cosines and sums of cosines, and of
probabilities by a decoder if there is one."""


def fusion_rule(form: str) -> FusionRule:
    """The rule of a form of fusion.

    Raises:
        UnknownNameError: There is no such form; the message lists all.

    Example:
        >>> fusion_rule("product").kinds
        ('visual', 'text')
    """
    if form not in FUSIONS:
        raise UnknownNameError("fusion", form, list(FUSIONS))
    return FUSIONS[form]


def highest_score(fusion: Fusion, phis: int, memory: bool = False, decoder: bool = False) -> float:
    """The score that no fused score is above, since cosines and probabilities are at most 1.

    Args:
        fusion: The form and its constants.
        phis: Number of phi encoders.
        memory: Whether there is a region memory.
        decoder: Whether there is a decoder.

    Example:
        >>> highest_score(Fusion("sum", text_weight=0.5), phis=2)
        2.5
    """
    if fusion.form in ("product", "decoder"):
        return 1.0
    weights = list(fusion.phi_weights or [1.0] * phis) if fusion.uses_visual else []
    if fusion.uses_text:
        weights.append(fusion.text_weight if fusion.form == "sum" else 1.0)
    if "memory" in FUSIONS[fusion.form].optional:
        weights += [fusion.photo_weight, fusion.memory_weight if memory else 0.0]
        weights.append(fusion.decoder_weight if decoder else 0.0)
    # Negative words lower a score to -3.
    return sum(max(weight, -3 * weight) for weight in weights)
