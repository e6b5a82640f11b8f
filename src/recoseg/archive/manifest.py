"""The manifest of an index: its encoder, settings and counts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ArchiveError, RecosegError
from recoseg.photos.frame import Frame
from recoseg.storage.atomic import write_atomically
from recoseg.storage.fields import read_fields, to_json

MANIFEST = "manifest.json"
_FORMAT = "recoseg-index"
_VERSION = 1


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
    """

    encoder: EncoderInfo
    frame: Frame
    precision: str
    preset: str | None
    recoseg: str
    photos: int = 0
    failures: int = 0
    shards: int = 0

    @classmethod
    def load(cls, root: Path) -> Manifest | None:
        """Read the manifest of an index; None if there is none.

        Raises:
            ArchiveError: The manifest is damaged or has another format version.
        """
        try:
            fields = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
            version = (fields.pop("format"), fields.pop("version"))
            if version == (_FORMAT, _VERSION):
                fields.pop("dim"), fields.pop("dtype")
                return read_fields(cls, fields)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, AttributeError, RecosegError) as error:
            raise ArchiveError(
                f"{root / MANIFEST} is damaged ({error}). Build the index again in another folder."
            ) from error
        raise ArchiveError(
            f"{root / MANIFEST} has the format {version}. Expected {(_FORMAT, _VERSION)}. "
            "Use the version of recoseg that wrote it, or build the index again."
        )

    def save(self, root: Path) -> None:
        """Write the manifest atomically."""
        fields = {
            "format": _FORMAT,
            "version": _VERSION,
            **asdict(self),
            "dim": self.encoder.dim,
            "dtype": "float16",
        }
        write_atomically(root / MANIFEST, lambda file: file.write(to_json(fields)))
