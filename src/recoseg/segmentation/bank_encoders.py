"""The dense encoders of a concept bank: those that are given, checked, and those that are built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from recoseg.concepts import ConceptBank
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.encoder_table import build_phi, build_saliency
from recoseg.encoders.extract import NeedsFeatures
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, EncoderInfo
from recoseg.errors import EncoderMismatchError

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
            kinds: Kinds of branches that are needed; all but `text` need phi.

        Raises:
            EncoderMismatchError: An encoder is not the bank's own.
        """
        if "text" in kinds and (saliency is None or isinstance(saliency, str)):
            compute = compute or resolve_compute()
            saliency = build_saliency(saliency or bank.encoders.saliency, compute)
        saliency = None if isinstance(saliency, str) else saliency
        if saliency is not None:
            _own([bank.encoders.saliency], saliency.info, "saliency")
        given = [phi] if phi is None or isinstance(phi, str) or hasattr(phi, "info") else phi
        needed = set(kinds) - {"text"} or isinstance(saliency, NeedsFeatures)
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
        return cls(ordered, saliency)


def infos_as_json(bank: ConceptBank) -> dict[str, Any]:
    """The bank's encoders as JSON fields, without the places of their files."""
    first, *more = [_as_json(info) for info in bank.encoders.phi]
    encoders = bank.encoders
    named = {"retrieval": encoders.retrieval, "saliency": encoders.saliency}
    found: dict[str, Any] = {role: _as_json(info) for role, info in named.items()}
    return found | {"phi": first} | ({"more_phi": more} if more else {})


def _as_json(info: EncoderInfo) -> dict[str, Any]:
    return {key: value for key, value in asdict(info).items() if key != "file"}


def _own(mine: Sequence[EncoderInfo], theirs: EncoderInfo, role: str) -> EncoderInfo:
    """Which of the bank's encoders another one is equal to.

    Raises:
        EncoderMismatchError: It is none of them.
    """
    for info in mine:
        if info.same_as(theirs):
            return info
    expected = " or ".join(
        f"{info.name} ({info.weights}, fingerprint {info.fingerprint})" for info in mine
    )
    raise EncoderMismatchError(
        f"The bank was learnt with {expected} as {role} encoder, got {theirs.name} "
        f"({theirs.weights}, fingerprint {theirs.fingerprint}). Use the bank's own encoder "
        "(--saliency, --phi), or learn the classes again."
    )
