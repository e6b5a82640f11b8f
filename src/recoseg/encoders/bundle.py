"""The three encoders of the method together."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.encoders.protocols import (
    DenseImageEncoder,
    DenseTextEncoder,
    EncoderInfo,
    ImageTextEncoder,
)


@dataclass(frozen=True)
class BankEncoders:
    """The encoders that made a bank; no others can use it."""

    retrieval: EncoderInfo
    saliency: EncoderInfo
    phi: EncoderInfo


@dataclass(frozen=True)
class Encoders:
    """The three encoders of the method."""

    retrieval: ImageTextEncoder
    saliency: DenseTextEncoder
    phi: DenseImageEncoder

    @property
    def info(self) -> BankEncoders:
        """Their identities."""
        return BankEncoders(self.retrieval.info, self.saliency.info, self.phi.info)
