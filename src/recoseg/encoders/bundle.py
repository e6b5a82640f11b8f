"""The encoders of the method together: retrieval, saliency, and one phi or several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from recoseg.device import Compute, resolve_compute
from recoseg.encoders.encoder_table import (
    build_phi,
    build_retrieval,
    build_saliency,
    find_row,
    needs_features,
    with_default_form,
)
from recoseg.encoders.extract import NeedsFeatures
from recoseg.encoders.presets import preset as find_preset
from recoseg.encoders.protocols import (
    MEMBERS,
    DenseImageEncoder,
    DenseTextEncoder,
    EncoderInfo,
    ImageTextEncoder,
)
from recoseg.encoders.spec import ANTIALIAS, BY_SIZE, Encoder, EncoderRole
from recoseg.errors import EncoderMismatchError, RecosegError, UnknownNameError
from recoseg.storage.fields import read_fields

EncoderT = TypeVar("EncoderT", bound=Encoder)


@dataclass(frozen=True)
class EncoderInfos:
    """The identities of the encoders that made a bank; no others can use it.

    Attributes:
        retrieval: The retrieval encoder.
        saliency: The saliency encoder.
        phi: The dense image encoders; one at least.
    """

    retrieval: EncoderInfo
    saliency: EncoderInfo
    phi: tuple[EncoderInfo, ...]

    def __post_init__(self) -> None:
        check_phi(self.phi)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; `more_phi` is there only if there are several phi."""
        first, *more = (info.to_json() for info in self.phi)
        fields: dict[str, Any] = {
            "retrieval": self.retrieval.to_json(),
            "saliency": self.saliency.to_json(),
            "phi": first,
        }
        return fields | ({"more_phi": more} if more else {})

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> EncoderInfos:
        """Read what `to_json` made.

        Raises:
            RecosegError: A field is unknown, missing, of another type or out of range.
        """
        stored = read_fields(_StoredInfos, fields)
        phi = (stored.phi, *stored.more_phi)
        for info, least in ((stored.retrieval, 0), *((one, 1) for one in (stored.saliency, *phi))):
            info.check_range(least)
        return cls(stored.retrieval, stored.saliency, phi)


@dataclass(frozen=True)
class _StoredInfos:
    retrieval: EncoderInfo
    saliency: EncoderInfo
    phi: EncoderInfo
    more_phi: tuple[EncoderInfo, ...] = ()


@dataclass(frozen=True)
class Encoders:
    """The encoders of the method.

    Attributes:
        retrieval: Searches the archive by text.
        saliency: Scores patches by text.
        phi: Describe patches by what they look like; one at least.
        compute: Device and precision of the encoders; None where it is not known.
    """

    retrieval: ImageTextEncoder
    saliency: DenseTextEncoder
    phi: tuple[DenseImageEncoder, ...]
    compute: Compute | None = None

    def __post_init__(self) -> None:
        infos = [encoder.info for encoder in self.phi]
        check_phi(infos)
        check_needs(self.saliency, infos)

    @property
    def info(self) -> EncoderInfos:
        """The identities of the encoders."""
        phi = tuple(encoder.info for encoder in self.phi)
        return EncoderInfos(self.retrieval.info, self.saliency.info, phi)


def check_phi(phi: Sequence[EncoderInfo]) -> None:
    """Refuse a choice of phi encoders that is empty or names one twice.

    Raises:
        RecosegError: There is no phi encoder, or the same one twice.
    """
    if not phi:
        raise RecosegError("Expected at least one phi encoder, got none.")
    keys = Counter(info.key for info in phi)
    twice = sorted({info.name for info in phi if keys[info.key] > 1})
    if twice:
        raise RecosegError(
            f"Expected different phi encoders, got {', '.join(twice)} twice. Name each only once."
        )


def check_needs(saliency: DenseTextEncoder, phi: Sequence[EncoderInfo]) -> None:
    """Refuse a saliency encoder that needs the features of another encoder than one of phi.

    Raises:
        RecosegError: The encoder that it needs is not there.
    """
    keys = [info.key for info in phi]
    if isinstance(saliency, NeedsFeatures) and saliency.needs not in keys:
        raise RecosegError(
            f"The saliency encoder {saliency.info.name} needs the features of "
            f"{saliency.needs!r}. Expected it among the phi encoders; got {', '.join(keys)}."
        )


def other_encoder(
    role: EncoderRole, mine: Sequence[EncoderInfo], theirs: EncoderInfo
) -> EncoderMismatchError:
    """The error to raise where an encoder is none of those that a bank was learnt with."""
    expected = " or ".join(
        f"{info.name} ({info.weights}, fingerprint {info.fingerprint})" for info in mine
    )
    why = ""
    if any(info.name == theirs.name for info in mine):
        why = _why_another(role, theirs.name)
    return EncoderMismatchError(
        f"The bank was learnt with {expected} as {role} encoder, got {theirs.name} "
        f"({theirs.weights}, fingerprint {theirs.fingerprint}).{why} Use the bank's own encoder "
        "(--saliency, --phi), or learn the classes again."
    )


def _why_another(role: EncoderRole, name: str) -> str:
    """Why encoders of equal names can be different, besides their weights."""
    try:
        row, variant = find_row(name, role)
    except UnknownNameError:
        return ""
    if role == "phi" and row.positions == BY_SIZE and not variant:
        return (
            f" If the weights are the same, the bank is older than the choice of how {name} "
            f"resamples its positions: take --phi {name}/{ANTIALIAS}, or its weights by "
            f"{name}/{ANTIALIAS}=/path/to/weights."
        )
    if role == "saliency" and needs_features(name):
        return " It also depends on the phi whose features it gets, which is the first one."
    return ""


def load_encoders(
    preset: str = "lite",
    *,
    retrieval: ImageTextEncoder | EncoderInfo | str | None = None,
    saliency: DenseTextEncoder | EncoderInfo | str | None = None,
    phi: DenseImageEncoder
    | EncoderInfo
    | str
    | Sequence[DenseImageEncoder | EncoderInfo | str]
    | None = None,
    recipe: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Encoders:
    """Load the encoders of the method.

    Args:
        preset: The encoders to load where none are given; see `PRESETS`.
        retrieval: A name (`NAME`, `NAME=/path/to/weights` or `NAME=random`), what an index or a
            bank has recorded of its encoder, or an encoder: any object with the members of
            `ImageTextEncoder`.
        saliency: Likewise; an encoder has the members of `DenseTextEncoder`. One that needs another
            encoder's features, such as `ViT-B/16/proxy`, is given those of the first phi. The name
            of a ViT without a form, such as `ViT-B/16`, asks for `/proxy`.
        phi: Likewise, one or a list; an encoder has the members of `DenseImageEncoder`.
        recipe: Name of the recipe that the encoders are for, which may have another phi: that of
            `lite` does for `paper`.
        device: Where encoders given by name run; see `resolve_compute`.
        precision: The precision of encoders given by name; see `resolve_compute`.

    Raises:
        UnknownNameError: There is no such preset or encoder.
        MissingWeightsError: The weights of an encoder are not available.
        RecosegError: An object is not an encoder or needs the features of one that is not there, or
            device or precision do not exist.
    """
    chosen = find_preset(preset)
    compute = resolve_compute(device, precision)
    if phi is None:
        phi = chosen.phi_of(recipe)
    several = phi if isinstance(phi, list | tuple) else [phi]
    if not several:
        check_phi([])
    first = _load("phi", build_phi, several[0], compute)
    if isinstance(saliency, str):
        saliency = with_default_form(saliency)
    wanted = chosen.retrieval if retrieval is None else retrieval
    return Encoders(
        _load("retrieval", build_retrieval, wanted, compute),
        _load(
            "saliency",
            partial(build_saliency, proxy=first.info),
            chosen.saliency if saliency is None else saliency,
            compute,
        ),
        (first, *(_load("phi", build_phi, item, compute) for item in several[1:])),
        compute,
    )


def _load(
    role: EncoderRole,
    build: Callable[[str | EncoderInfo, Compute], EncoderT],
    wanted: EncoderT | EncoderInfo | str,
    compute: Compute,
) -> EncoderT:
    if isinstance(wanted, str | EncoderInfo):
        return build(wanted, compute)
    if isinstance(wanted, type):
        raise RecosegError(
            f"Expected a {role} encoder; got the class {wanted.__name__}. Create an object of it: "
            f"{wanted.__name__}(...)."
        )
    missing = [name for name in MEMBERS[role] if not hasattr(wanted, name)]
    if missing:
        raise RecosegError(
            f"Expected a {role} encoder with the members {', '.join(MEMBERS[role])}; "
            f"{type(wanted).__name__} has no {', '.join(missing)}."
        )
    return wanted
