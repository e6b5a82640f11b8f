"""Encoders as they are asked for: `NAME` or `NAME=WEIGHTS`."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.errors import RecosegError

RANDOM = "random"


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder as it is asked for: `NAME` or `NAME=WEIGHTS`.

    Attributes:
        name: A name of the encoder table.
        weights: A file, `random` (the architecture at seeded random weights), or None for the
            published weights.
    """

    name: str
    weights: str | None = None

    @property
    def is_random(self) -> bool:
        """Whether the weights are drawn at random."""
        return self.weights == RANDOM

    def __str__(self) -> str:
        return self.name if self.weights is None else f"{self.name}={self.weights}"


def parse_spec(text: str) -> EncoderSpec:
    """Read `NAME` or `NAME=WEIGHTS`.

    Raises:
        RecosegError: The name or the weights are empty.

    Example:
        >>> parse_spec("ViT-B/32=clip.safetensors")
        EncoderSpec(name='ViT-B/32', weights='clip.safetensors')
    """
    name, equals, weights = text.strip().partition("=")
    if not name or (equals and not weights):
        raise RecosegError(
            f"Expected an encoder as NAME, NAME=/path/to/weights or NAME=random, got {text!r}."
        )
    return EncoderSpec(name, weights or None)
