"""The encoders of the method together: retrieval, saliency, and one phi or several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from recoseg.device import Compute, resolve_compute
from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
from recoseg.encoders.presets import preset as find_preset
from recoseg.encoders.protocols import (
    DenseImageEncoder,
    DenseTextEncoder,
    EncoderInfo,
    ImageTextEncoder,
)
from recoseg.encoders.spec import Encoder, EncoderRole
from recoseg.errors import RecosegError
from recoseg.storage.fields import read_fields

EncoderT = TypeVar("EncoderT", bound=Encoder)

_MEMBERS: dict[EncoderRole, tuple[str, ...]] = {
    "retrieval": ("info", "frame", "embed_images", "embed_texts"),
    "saliency": ("info", "features", "embed_texts"),
    "phi": ("info", "features"),
}


_MOST = 1 << 16  # numbers of a feature, and pixels of a stride, that a file may claim


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
            if not (0 < info.dim <= _MOST and least <= info.stride <= _MOST):
                raise RecosegError(
                    f"The encoder {info.name!r} has {info.dim} numbers and a stride of "
                    f"{info.stride}; expected 1 to {_MOST} numbers and {least} to {_MOST}."
                )
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
        check_phi([encoder.info for encoder in self.phi])

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
    device: str = "auto",
    precision: str = "auto",
) -> Encoders:
    """Load the encoders of the method.

    Args:
        preset: The encoders to load where none are given; see `PRESETS`.
        retrieval: A name (`NAME`, `NAME=/path/to/weights` or `NAME=random`), what an index or a
            bank has recorded of its encoder, or an encoder: any object with the members of
            `ImageTextEncoder`.
        saliency: Likewise; an encoder has the members of `DenseTextEncoder`.
        phi: Likewise, one or a list; an encoder has the members of `DenseImageEncoder`.
        device: Where encoders given by name run; see `resolve_compute`.
        precision: The precision of encoders given by name; see `resolve_compute`.

    Raises:
        UnknownNameError: There is no such preset or encoder.
        MissingWeightsError: The weights of an encoder are not available.
        RecosegError: An object is not an encoder, or device or precision do not exist.
    """
    chosen = find_preset(preset)
    compute = resolve_compute(device, precision)
    several = phi if isinstance(phi, list | tuple) else [chosen.phi if phi is None else phi]
    return Encoders(
        _load(
            "retrieval",
            build_retrieval,
            chosen.retrieval if retrieval is None else retrieval,
            compute,
        ),
        _load(
            "saliency", build_saliency, chosen.saliency if saliency is None else saliency, compute
        ),
        tuple(_load("phi", build_phi, item, compute) for item in several),
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
    missing = [name for name in _MEMBERS[role] if not hasattr(wanted, name)]
    if missing:
        raise RecosegError(
            f"Expected a {role} encoder with the members {', '.join(_MEMBERS[role])}; "
            f"{type(wanted).__name__} has no {', '.join(missing)}."
        )
    return wanted
