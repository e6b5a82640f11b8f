"""The manifest of an index: its encoder, settings and counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from recoseg.config import LARGEST_SIDE
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ArchiveError, FileError, MissingFileError, RecosegError
from recoseg.photos.frame import Frame
from recoseg.storage.atomic import write_bytes
from recoseg.storage.fields import read_fields
from recoseg.storage.sealed import read_sealed, sealed

MANIFEST = "manifest.json"
FORMAT = "recoseg-index"
MANIFEST_BYTES = 1 << 20
"""Maximum size of a manifest, bytes."""
_VERSION = 1
_MOST = 1 << 50  # photos, failures or shards


@dataclass(frozen=True)
class Manifest:
    """How the embeddings were computed, and how many there are.

    Attributes:
        encoder: The image-text encoder.
        frame: Its input size and resizing.
        precision: Precision of its forward passes: `fp32`, `bf16` or `fp16`.
        preset: Preset from which the encoder was chosen, if any.
        recoseg: Version of the package that wrote the index last.
        photos: Number of photos with an embedding after the last finished run.
        failures: Number of photos that cannot be used after the last finished run.
        shards: Number of shards after the last finished run.

    Raises:
        ArchiveError: A count or the input size is out of range.
        RecosegError: A number of the encoder is out of range.
    """

    encoder: EncoderInfo
    frame: Frame
    precision: str
    preset: str | None
    recoseg: str
    photos: int = 0
    failures: int = 0
    shards: int = 0

    def __post_init__(self) -> None:
        self.encoder.check_range()
        counts = (self.photos, self.failures, self.shards)
        if not 0 <= min(counts) <= max(counts) <= _MOST:
            raise ArchiveError(f"expected counts from 0 to {_MOST:,}, got {counts}")
        if not 0 < self.frame.size <= LARGEST_SIDE:
            raise ArchiveError(
                f"expected an input size from 1 to {LARGEST_SIDE:,} pixels, got {self.frame.size}"
            )

    @classmethod
    def load(cls, root: Path) -> Manifest | None:
        """Read the manifest of an index; None if there is none.

        Raises:
            ArchiveError: The manifest is damaged or has another format version.
        """
        read = cls.load_checked(root)
        return read[0] if read else None

    @classmethod
    def load_checked(cls, root: Path) -> tuple[Manifest, bool] | None:
        """Read the manifest of an index, and whether it holds a checksum; None if there is none.

        Raises:
            ArchiveError: The manifest is damaged or has another format version.
        """
        path = root / MANIFEST
        try:
            fields, has_checksum = read_sealed(path, MANIFEST_BYTES)
            version = (fields.pop("format"), fields.pop("version"))
            if version == (FORMAT, _VERSION):
                fields.pop("dim"), fields.pop("dtype")
                return read_fields(cls, fields), has_checksum
        except MissingFileError:
            return None
        except KeyError as error:
            raise ArchiveError(
                f"{path} is damaged, or not the manifest of an index: it has no field {error}."
            ) from error
        except FileError as error:
            raise ArchiveError(f"{error} Build the index again in another folder.") from error
        except RecosegError as error:
            raise ArchiveError(
                f"{path} is damaged ({str(error)[:300]}). Build the index again in another folder."
            ) from error
        raise ArchiveError(
            f"{path} has the format {str(version)[:100]}. Expected {(FORMAT, _VERSION)}. "
            "Use the version of recoseg that wrote it, or build the index again."
        )

    def save(self, root: Path) -> None:
        """Write the manifest in one step."""
        fields = {
            "format": FORMAT,
            "version": _VERSION,
            **asdict(self),
            "dim": self.encoder.dim,
            "dtype": "float16",
        }
        write_bytes(root / MANIFEST, sealed(fields))
