"""The dense encoders of a concept bank: those that are given, checked, and those that are built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from recoseg.concepts import ConceptBank
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.bundle import check_needs, other_encoder
from recoseg.encoders.encoder_table import build_phi, build_saliency, needs_features
from recoseg.encoders.extract import NeedsFeatures
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, EncoderInfo
from recoseg.encoders.spec import EncoderRole

Phi = DenseImageEncoder | str
"""A dense image encoder, or its spec."""


@dataclass(frozen=True)
class BankEncoders:
    """Loaded dense encoders of a bank.

    Attributes:
        phis: The dense image encoders, each with the bank's own description of it; not all of the
            bank's where they are not needed.
        saliency: The saliency encoder; None where it is neither needed nor given.
    """

    phis: tuple[tuple[EncoderInfo, DenseImageEncoder], ...]
    saliency: DenseTextEncoder | None

    @classmethod
    def load(
        cls,
        bank: ConceptBank,
        phi: Phi | Sequence[Phi] | None,
        saliency: DenseTextEncoder | str | None,
        compute: Compute | None,
        kinds: Sequence[str],
    ) -> BankEncoders:
        """Take the encoders that are given, build those that are missing, and check all.

        Args:
            bank: The bank.
            phi: Dense image encoders or their specs.
            saliency: The saliency encoder or its spec.
            compute: Device and precision of those that are built; None for the best.
            kinds: Kinds of branches that are needed; all but `text` and `decoder` need phi.

        Raises:
            EncoderMismatchError: An encoder is not the bank's own.
            RecosegError: The saliency encoder needs the features of one that is not there.
        """
        wanted = saliency or bank.encoders.saliency if "text" in kinds else None
        follows = isinstance(saliency, NeedsFeatures)
        if isinstance(wanted, str | EncoderInfo):
            compute = compute or resolve_compute()
            follows = needs_features(wanted)
            # Before phi, so that those that share a backbone are built one after the other.
            saliency = None if follows else build_saliency(wanted, compute)
        given = [phi] if phi is None or isinstance(phi, str) or hasattr(phi, "info") else phi
        needed = set(kinds) - {"text", "decoder"} or follows
        found: dict[EncoderInfo, DenseImageEncoder] = {}
        for one in cast("Sequence[Phi | None]", given):
            if isinstance(one, str) and needed:
                compute = compute or resolve_compute()
                one = build_phi(one, compute)
            if one is not None and not isinstance(one, str):
                found[_own(bank.encoders.phi, one.info, "phi")] = one
        for info in bank.encoders.phi:
            if needed and info not in found:
                compute = compute or resolve_compute()
                built = build_phi(info, compute)
                found[_own([info], built.info, "phi")] = built
        ordered = tuple((info, found[info]) for info in bank.encoders.phi if info in found)
        if isinstance(wanted, str | EncoderInfo) and follows:
            first = ordered[0][1].info
            saliency = build_saliency(wanted, compute or resolve_compute(), first)
        saliency = None if isinstance(saliency, str) else saliency
        if saliency is not None:
            _own([bank.encoders.saliency], saliency.info, "saliency")
            check_needs(saliency, [encoder.info for _, encoder in ordered])
        return cls(ordered, saliency)


def infos_as_json(bank: ConceptBank) -> dict[str, Any]:
    """The bank's encoders as JSON fields, without what says nothing of their features."""
    first, *more = [_as_json(info) for info in bank.encoders.phi]
    encoders = bank.encoders
    named = {"retrieval": encoders.retrieval, "saliency": encoders.saliency}
    found: dict[str, Any] = {role: _as_json(info) for role, info in named.items()}
    return found | {"phi": first} | ({"more_phi": more} if more else {})


def _as_json(info: EncoderInfo) -> dict[str, Any]:
    return {key: value for key, value in asdict(info).items() if key not in ("file", "licence")}


def _own(mine: Sequence[EncoderInfo], theirs: EncoderInfo, role: EncoderRole) -> EncoderInfo:
    """Which of the bank's encoders another one is equal to.

    Raises:
        EncoderMismatchError: It is none of them.
    """
    for info in mine:
        if info.same_as(theirs):
            return info
    raise other_encoder(role, mine, theirs)
