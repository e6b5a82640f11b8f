"""How encoders are asked for, and what a row of the encoder table says about one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from recoseg.config import PAPER_RECIPE
from recoseg.device import Compute
from recoseg.encoders.protocols import (
    DenseImageEncoder,
    DenseTextEncoder,
    EncoderInfo,
    ImageTextEncoder,
)
from recoseg.encoders.weight_sources import WeightSource
from recoseg.errors import OptionError

RANDOM = "random"
BY_SIZE, ANTIALIAS = "by-size", "antialias"
POSITIONS = (BY_SIZE, ANTIALIAS)
"""How timm's ViTs bring their position embeddings to other grids: bicubically and `by_size`, as the
code that many of them were published with, or with antialias, as timm does."""

Encoder = ImageTextEncoder | DenseTextEncoder | DenseImageEncoder
EncoderRole = Literal["retrieval", "saliency", "phi"]
"""What an encoder does in the method: find photos by text, score patches by text, or describe
patches by what they look like."""


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder as it is asked for: `NAME` or `NAME=WEIGHTS`.

    Attributes:
        name: A name of the encoder table.
        weights: A file, `random` (the architecture with seeded random weights), or None for the
            published weights.
    """

    name: str
    weights: str | None = None

    @property
    def is_random(self) -> bool:
        """Whether the weights are random numbers."""
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
        raise OptionError(
            f"Expected an encoder as NAME, NAME=/path/to/weights or NAME=random, got {text!r}."
        )
    return EncoderSpec(name, weights or None)


@dataclass(frozen=True)
class EncoderDefaults:
    """The settings that suit an encoder in one of its roles; all others are the paper's.

    Attributes:
        learn: Fields of `LearnSettings`.
        segment: Fields of `SegmentSettings`.
        recipe: As a saliency encoder: name of the recipe that is used where none is given.
        by_recipe: Fields of `SegmentSettings` for one recipe alone, by its name.
        curate: As a retrieval encoder: limits of `recoseg curate`, by name.
    """

    learn: Mapping[str, Any] = field(default_factory=dict, hash=False)
    segment: Mapping[str, Any] = field(default_factory=dict, hash=False)
    recipe: str = PAPER_RECIPE
    by_recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    curate: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class EncoderRow:
    """A row of the encoder table.

    Attributes:
        name: The name the encoder is asked for by. A name that ends in `:` is a family, asked for
            as `PREFIX:MODEL`.
        roles: The roles it can take.
        build: Makes the encoder.
        arch: The architecture's name in its library; empty for a family.
        source: Where the weights are published, with revision or checksum if known; None for a
            family, whose library knows.
        licence: The licence of the weights, as published.
        stride: Pixels per feature cell in its dense roles; 0 where the model decides.
        note: A remark for `recoseg encoders`.
        defaults: The settings that suit it, by role.
        positions: How a ViT of timm brings its position embeddings to other grids than the native
            one: a name of `POSITIONS`.
        companions: Other files that it needs.
        tag: What the weights were trained on, by the name that open_clip gives it.
        form: As a saliency encoder: the form that is meant by the bare name where a user gives it;
            empty if there is one form only.
    """

    name: str
    roles: tuple[EncoderRole, ...]
    build: Callable[[BuildRequest], Encoder]
    arch: str
    source: WeightSource | None
    licence: str
    stride: int
    note: str = ""
    defaults: Mapping[EncoderRole, EncoderDefaults] = field(default_factory=dict, hash=False)
    positions: str = ANTIALIAS
    companions: tuple[WeightSource, ...] = ()
    tag: str = ""
    form: str = ""


@dataclass(frozen=True)
class BuildRequest:
    """What the function that builds an encoder is given.

    Attributes:
        role: The role the encoder is built for.
        row: Its row of the table.
        spec: The full name and the weights.
        rest: The part of the name after the row's own name: the model of a family, or a variant
            after a slash.
        compute: Device and precision.
        proxy: The encoder whose features a saliency encoder is given, if it needs any.
        recorded: Fingerprint of the encoder in the record that it is built from, if it is.
    """

    role: EncoderRole
    row: EncoderRow
    spec: EncoderSpec
    rest: str
    compute: Compute
    proxy: EncoderInfo | None = None
    recorded: str = ""
