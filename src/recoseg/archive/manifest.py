"""What made an index: its manifest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ArchiveError, RecosegError
from recoseg.files import read_fields, to_json, write_atomically
from recoseg.photos.frame import Frame

MANIFEST = "manifest.json"
_FORMAT = "recoseg-index"
_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What made the embeddings, and how many there are.

    Attributes:
        encoder: The image-text encoder.
        frame: Its input size and resizing.
        precision: Precision of its forward passes: `fp32`, `bf16` or `fp16`.
        preset: The preset that the encoder was chosen by, if any.
        recoseg: Version of the package.
        photos: Embedded photos after the last finished run.
        failures: Unusable photos after the last finished run.
        shards: Shards after the last finished run.
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
        """The index's manifest; None if there is none.

        Raises:
            ArchiveError: It is damaged or of a later format.
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
            f"{root / MANIFEST} has format {version}, expected {(_FORMAT, _VERSION)}. "
            "Use the version of recoseg that wrote it, or build the index again."
        )

    def save(self, root: Path) -> None:
        """Write it in one step."""
        fields = {
            "format": _FORMAT,
            "version": _VERSION,
            **asdict(self),
            "dim": self.encoder.dim,
            "dtype": "float16",
        }
        write_atomically(root / MANIFEST, lambda file: file.write(to_json(fields)))
