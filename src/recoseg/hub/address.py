"""Addresses of repositories on the Hugging Face Hub: `hf:OWNER/NAME[@REVISION]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from recoseg.encoders.weight_sources import hub_endpoint
from recoseg.errors import OptionError

SCHEME = "hf:"

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[\w.+-]+(/[\w.+-]+)*", re.ASCII)
_COMMIT = re.compile("[0-9a-f]{40}")
_LONGEST = 200  # characters of a revision


@dataclass(frozen=True)
class HubAddress:
    """A repository of models on the Hub, at a revision.

    Attributes:
        repo: `OWNER/NAME`.
        revision: A branch, a tag or a commit; None for the newest commit.
    """

    repo: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str | Path) -> HubAddress:
        """Read an address.

        Raises:
            OptionError: It has another form.

        Example:
            >>> HubAddress.parse("hf:ann/pets@v1")
            HubAddress(repo='ann/pets', revision='v1')
        """
        given = _text(text)
        repo, mark, revision = given.removeprefix(SCHEME).partition("@")
        if not given.startswith(SCHEME) or (mark and not is_revision(revision)):
            raise _unreadable(given)
        return cls(check_repo(repo, given), revision if mark else None)

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}{f'@{self.revision}' if self.revision else ''}"

    @property
    def name(self) -> str:
        """The part after the owner."""
        return self.repo.split("/")[1]

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a whole commit hash, whose files never change."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    @property
    def url(self) -> str:
        """The page of the repository."""
        tree = f"/tree/{self.revision}" if self.revision else ""
        return f"{hub_endpoint()}/{self.repo}{tree}"


def is_hub(path: object) -> bool:
    """Whether a path is an address on the Hub rather than a file, a folder or a URL.

    Example:
        >>> is_hub("hf:ann/pets"), is_hub("hf://ann/pets/index"), is_hub("pets.safetensors")
        (True, False, False)
    """
    if not isinstance(path, str | Path):
        return False
    text = _text(path)
    return text.startswith(SCHEME) and not text.startswith(f"{SCHEME}//")


def check_repo(repo: str, given: str = "") -> str:
    """The name of a repository, `OWNER/NAME`.

    Args:
        repo: The name.
        given: The address that it is a part of, for the message.

    Raises:
        OptionError: It has another form.
    """
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo or repo.endswith((".", "-")):
        raise _unreadable(given or repo)
    return repo


def is_revision(text: str) -> bool:
    """Whether a text can name a branch, a tag or a commit; a file in the cache gets its name."""
    return bool(_REVISION.fullmatch(text)) and len(text) <= _LONGEST and ".." not in text


def _text(path: str | Path) -> str:
    return path.as_posix() if isinstance(path, Path) else path


def _unreadable(given: str) -> OptionError:
    form = f"{SCHEME}OWNER/NAME or {SCHEME}OWNER/NAME@REVISION"
    if not given.startswith(SCHEME):
        form = "OWNER/NAME"
    return OptionError(f"Cannot read {given!r} as a repository on the Hub. Expected {form}.")
