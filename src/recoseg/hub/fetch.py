"""Local copies of what is on the Hub, in the cache of `huggingface_hub`.

A branch or tag is looked up on the Hub each time; what it points to is downloaded once. Without a
network, or with `HF_HUB_OFFLINE`, the copy in the cache is used. A commit never changes, so that
its copy is used without asking.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from recoseg.encoders.download import hub_is_offline, reachable
from recoseg.encoders.weight_sources import hub_endpoint
from recoseg.errors import HubError
from recoseg.hub.address import HubAddress, is_hub
from recoseg.hub.layout import FILES, MAIN, PICKLES, SUMMARY, WHAT, Kind, kind_in

T = TypeVar("T")

_log = logging.getLogger(__name__)

LOG_IN = "`hf auth login` (older versions: `huggingface-cli login`), or set HF_TOKEN"
_MOST_NAMED = 5


@dataclass(frozen=True)
class HubCopy:
    """The files of a repository in the cache.

    Attributes:
        address: The repository at the commit of the files.
        kind: What it holds.
        folder: The folder of the files.
    """

    address: HubAddress
    kind: Kind
    folder: Path

    @property
    def path(self) -> Path:
        """What the commands take: a file, or the folder of a region memory."""
        return self.folder if self.kind == "memory" else self.folder / MAIN[self.kind]


def fetch(address: HubAddress, *, summary: bool = False) -> HubCopy:
    """Find a repository in the cache, or download what is not there yet.

    Of a download that was interrupted, files that are whole are not downloaded again.

    Args:
        address: The repository.
        summary: Whether the files of a region memory that say what it holds are enough.

    Raises:
        HubError: The repository or the revision does not exist, needs a login, or holds nothing of
            recoseg; or it is not in the cache, and the Hub cannot be asked.
    """
    if address.is_commit:
        found = _cached(address, summary)
        # Older clients do not say whether all files of a folder were downloaded.
        if found is not None and found.kind != "memory":
            return found
    if hub_is_offline() or not reachable(hub_endpoint()):
        found = _cached(address, summary)
        if found is None:
            why = (
                "HF_HUB_OFFLINE is set" if hub_is_offline() else f"no answer from {hub_endpoint()}"
            )
            raise HubError(
                f"{address} is not in the cache of this machine, and cannot be downloaded: {why}."
            )
        if not hub_is_offline():
            _log.warning("No answer from %s; %s is used from the cache", hub_endpoint(), address)
        return found
    return _download(address, summary)


def local_path(path: str | Path, kind: Kind | None = None) -> Path:
    """A path on this machine; what is on the Hub is fetched first.

    Args:
        path: A file or folder, or an address on the Hub.
        kind: What is expected there, if it is on the Hub; None for anything of recoseg.

    Raises:
        HubError: The repository cannot be fetched, or holds something else.
    """
    if not is_hub(path):
        return Path(path)
    found = fetch(HubAddress.parse(path), summary=True)
    if kind is not None and found.kind != kind:
        raise HubError(f"{path} holds {WHAT[found.kind]}. Expected {WHAT[kind]}.")
    return fetch(found.address).path if found.kind == "memory" else found.path


def pinned(source: T) -> T | str:
    """An address on the Hub with the commit that it stands for now; all else as it is.

    Raises:
        HubError: The repository cannot be fetched.
    """
    if not (isinstance(source, str | Path) and is_hub(source)):
        return source
    address = HubAddress.parse(source)
    return str(address if address.is_commit else fetch(address, summary=True).address)


def client() -> Any:
    """The client of the Hub that the environment names, with the user's login."""
    from importlib.metadata import version

    from huggingface_hub import HfApi

    return HfApi(
        endpoint=hub_endpoint(), library_name="recoseg", library_version=version("recoseg")
    )


def _cached(address: HubAddress, summary: bool) -> HubCopy | None:
    """What is in the cache; None if it is not there, or not whole as far as the client knows."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                address.repo,
                revision=address.revision,
                allow_patterns=[one for kind in MAIN for one in _patterns(kind, summary)],
                local_files_only=True,
            )
        )
    except (OSError, ValueError):
        return None
    kind = kind_in(_names(folder))
    return None if kind is None else HubCopy(_at(address, folder), kind, folder)


def _download(address: HubAddress, summary: bool) -> HubCopy:
    from huggingface_hub import snapshot_download

    try:
        info = client().model_info(address.repo, revision=address.revision)
        kind = kind_in(file.rfilename for file in info.siblings or ())
        if kind is None:
            raise _nothing(address, [file.rfilename for file in info.siblings or ()])
        folder = Path(
            snapshot_download(
                address.repo,
                revision=address.revision,
                endpoint=hub_endpoint(),
                allow_patterns=list(_patterns(kind, summary)),
            )
        )
        found = kind_in(_names(folder))
    except HubError:
        raise
    except Exception as error:  # the client raises errors of several libraries
        raise hub_error(address, error) from error
    if found is None:  # it has changed in between
        raise _nothing(address, _names(folder))
    return HubCopy(_at(address, folder), found, folder)


def hub_error(address: HubAddress, error: Exception) -> HubError:
    """What the client has raised, in plain words."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return HubError(
            f"{address.repo} is open to those only who have accepted its conditions. Accept them "
            f"at {address.url}, and log in by {LOG_IN}."
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(
            f"{address.repo} has no revision {address.revision!r}. Expected a branch, a tag or a "
            f"whole commit hash; hf:{address.repo} alone is its newest commit."
        )
    if isinstance(error, RepositoryNotFoundError):
        return HubError(
            f"No repository {address.repo} of models was found at {hub_endpoint()}, or it is "
            f"private. Check the spelling. To read private ones log in by {LOG_IN}."
        )
    text = " ".join(str(error).splitlines()[:1])
    return HubError(f"The Hub failed for {address.repo}: {type(error).__name__}: {text}")


def _patterns(kind: Kind, summary: bool) -> Sequence[str]:
    """The files that are wanted of a repository; no others are ever downloaded."""
    return SUMMARY if summary and kind == "memory" else FILES[kind]


def _at(address: HubAddress, folder: Path) -> HubAddress:
    """The address with the commit, by which the cache names the folder."""
    return HubAddress(address.repo, folder.name)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _nothing(address: HubAddress, names: Sequence[str]) -> HubError:
    expected = ", ".join(f"{main} ({WHAT[kind]})" for kind, main in MAIN.items())
    pickles = [name for name in names if name.endswith(PICKLES)]
    held = ", ".join((pickles or list(names))[:_MOST_NAMED]) or "no files"
    why = " Weights are read as safetensors only, since other files can hold code." * bool(pickles)
    return HubError(
        f"{address} holds nothing that `recoseg push` has written. Expected one of {expected}; "
        f"got {held}.{why}"
    )
