"""The manifest of a region memory: its encoders, settings and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recoseg.config import LARGEST_SIDE
from recoseg.encoders.protocols import MAX_DIM, EncoderInfo
from recoseg.errors import (
    ArchiveError,
    EncoderMismatchError,
    FileError,
    MissingFileError,
    RecosegError,
)
from recoseg.storage.atomic import write_bytes
from recoseg.storage.fields import read_fields
from recoseg.storage.sealed import read_sealed, sealed

MANIFEST = "manifest.json"
FORMAT = "recoseg-memory-1"
MANIFEST_BYTES = 1 << 20
"""Maximum size of a manifest, bytes."""

_MOST = 1_000_000_000  # photos, regions or shards


@dataclass(frozen=True)
class MemoryManifest:
    """How the regions were described, and how many there are.

    Attributes:
        phi: The dense image encoders, whose features are the keys; one at least.
        texts: The dense text encoders, whose features are the values; one at least.
        provider: Key of what divided the photos into regions; see `RegionProvider.key`.
        size: Side of the centre crop that was described, pixels.
        precision: Precision of the encoders' forward passes: `fp32`, `bf16` or `fp16`.
        recoseg: Version of the package that wrote the memory last.
        photos: Number of photos after the last finished run.
        regions: Number of regions after the last finished run.
        shards: Number of shards after the last finished run.

    Raises:
        RecosegError: There are no encoders, or one of them twice, or a number is out of range.
    """

    phi: tuple[EncoderInfo, ...]
    texts: tuple[EncoderInfo, ...]
    provider: str
    size: int
    precision: str
    recoseg: str
    photos: int = 0
    regions: int = 0
    shards: int = 0

    def __post_init__(self) -> None:
        for name, infos in (("phi", self.phi), ("text", self.texts)):
            if not infos:
                raise RecosegError(f"Expected at least one {name} encoder, got none.")
            if len({info.key for info in infos}) < len(infos):
                raise RecosegError(f"Expected different {name} encoders, got one of them twice.")
        for info in (*self.phi, *self.texts):
            info.check_range()
        rows = (self.key_dim, self.value_dim)
        for what, values, least, most in (
            ("lengths of rows", rows, 1, MAX_DIM),
            ("a size", (self.size,), 1, LARGEST_SIDE),
            ("counts", (self.photos, self.regions, self.shards), 0, _MOST),
        ):
            if not least <= min(values) <= max(values) <= most:
                shown = ", ".join(map(str, values))[:200]
                raise RecosegError(f"Expected {what} from {least} to {most:,}, got {shown}.")

    @property
    def key_spans(self) -> dict[str, slice]:
        """The columns of each phi encoder in a row of keys, by encoder key."""
        return _spans(self.phi)

    @property
    def value_spans(self) -> dict[str, slice]:
        """The columns of each text encoder in a row of values, by encoder key."""
        return _spans(self.texts)

    @property
    def key_dim(self) -> int:
        """Length of a row of keys."""
        return sum(info.dim for info in self.phi)

    @property
    def value_dim(self) -> int:
        """Length of a row of values."""
        return sum(info.dim for info in self.texts)

    @classmethod
    def load(cls, root: Path) -> MemoryManifest:
        """Read the manifest of a memory.

        Raises:
            ArchiveError: There is no memory, or its manifest is damaged or has another format.
        """
        path = root / MANIFEST
        try:
            fields, _ = read_sealed(path, MANIFEST_BYTES)
            form = fields.pop("format", None)
            if form == FORMAT:
                return read_fields(cls, fields)
        except MissingFileError as error:
            raise ArchiveError(
                f"No region memory was found at {root}. Build one with `recoseg remember`."
            ) from error
        except (FileError, RecosegError) as error:
            raise ArchiveError(
                f"{path} is damaged ({error}). Build the memory again in another folder."
            ) from error
        raise ArchiveError(
            f"{root} holds no region memory: its manifest has the format {form!r}; expected "
            f"{FORMAT!r}. Name a folder that `recoseg remember` has written."
        )

    def save(self, root: Path) -> None:
        """Write the manifest in one step."""
        write_bytes(root / MANIFEST, sealed({"format": FORMAT, **asdict(self)}))

    def check_same(self, other: MemoryManifest, where: str) -> None:
        """Refuse descriptions that cannot be kept in one memory.

        Args:
            other: How the other regions are described.
            where: Where this manifest is, for messages.

        Raises:
            EncoderMismatchError: Encoders, regions, size or precision differ.
        """
        pairs: list[tuple[str, object, object]] = [
            ("phi", _identity(self.phi), _identity(other.phi)),
            ("text encoders", _identity(self.texts), _identity(other.texts)),
            ("regions", self.provider, other.provider),
            ("size", self.size, other.size),
            ("precision", self.precision, other.precision),
        ]
        for name, mine, theirs in pairs:
            if mine != theirs:
                raise EncoderMismatchError(
                    f"{where} was made with the {name} {mine}, not {theirs}. Use the same "
                    "settings, or build another memory."
                )


def _spans(infos: Sequence[EncoderInfo]) -> dict[str, slice]:
    spans, start = {}, 0
    for info in infos:
        spans[info.key] = slice(start, start + info.dim)
        start += info.dim
    return spans


def _identity(infos: Sequence[EncoderInfo]) -> str:
    return ", ".join(info.key for info in infos)
