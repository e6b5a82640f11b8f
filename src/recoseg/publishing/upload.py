"""Uploading a folder to the Hub in one commit, so that nobody ever sees a part of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recoseg.encoders.download import hub_is_offline, reachable
from recoseg.encoders.weight_sources import hub_endpoint
from recoseg.errors import HubError
from recoseg.hub.address import HubAddress
from recoseg.hub.fetch import LOG_IN, client, hub_error
from recoseg.hub.layout import CARD, WHAT, Kind, is_ours, kind_in
from recoseg.publishing.staging import Staged

_NEUTRAL = {CARD, ".gitattributes", ".gitignore", "LICENSE", "LICENSE.md", "LICENSE.txt"}
"""Files that any repository may have."""

_FORBIDDEN = (401, 403)


@dataclass(frozen=True)
class Pushed:
    """What was uploaded.

    Attributes:
        address: The repository at the commit.
        is_new: Whether the commit is a new one; nothing is committed if nothing has changed.
    """

    address: HubAddress
    is_new: bool


def check_login() -> None:
    """Refuse to begin without a login, or where the Hub cannot be reached.

    Raises:
        HubError: The user is not logged in, has switched the Hub off, or it does not answer.
    """
    from huggingface_hub import get_token

    if hub_is_offline():
        raise HubError("HF_HUB_OFFLINE is set, so that nothing can be uploaded. Unset it.")
    if not get_token():
        raise HubError(
            f"Uploading needs a login. Make a token that may write at {hub_endpoint()}/settings/"
            f"tokens, and log in by {LOG_IN}."
        )
    if not reachable(hub_endpoint()):
        raise HubError(f"No answer from {hub_endpoint()}. Check the network.")


def upload(
    staged: Staged, address: HubAddress, *, private: bool = False, message: str = ""
) -> Pushed:
    """Upload a folder; files of an earlier upload that are no longer there are removed.

    Args:
        staged: The folder.
        address: The repository, which is created if it does not exist. Its revision is the branch
            to write to, which is created, too; None for the main one.
        private: Whether a new repository is private.
        message: Message of the commit; empty for a plain one.

    Raises:
        HubError: The user may not write there, the repository holds something else, or it is
            public although it should be private; nothing was uploaded then. Or the upload failed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = client()
    try:
        before = _open(api, address, private)
        present = [file.rfilename for file in before.siblings or ()]
        _check_free(present, staged.kind, address)
        names = staged.files
        gone = [name for name in present if is_ours(name) and name not in names]
        operations = [
            *(CommitOperationAdd(name, str(staged.folder / name)) for name in names),
            *(CommitOperationDelete(name) for name in gone),
        ]
        with warnings.catch_warnings():
            # Tables of a region memory belong to it, and make no data set.
            warnings.filterwarnings("ignore", ".*about to commit a data file.*")
            commit = api.create_commit(
                address.repo,
                operations,
                commit_message=message or f"Upload {WHAT[staged.kind]} with recoseg",
                revision=address.revision,
                parent_commit=before.sha,
            )
    except HubError:
        raise
    except Exception as error:  # the client raises errors of several libraries
        raise _refusal(address, error) from error
    return Pushed(HubAddress(address.repo, commit.oid), commit.oid != before.sha)


def _open(api: Any, address: HubAddress, private: bool) -> Any:
    """What the Hub says about the repository and the branch, which are created if need be."""
    api.create_repo(address.repo, private=private, exist_ok=True)
    found = api.model_info(address.repo)
    if private and not found.private:
        raise HubError(
            f"{address.repo} exists already and is public, so everybody would see what is "
            f"uploaded. Make it private at {hub_endpoint()}/{address.repo}/settings, or name "
            "another one. Nothing was uploaded."
        )
    if address.revision is None:
        return found
    api.create_branch(address.repo, branch=address.revision, exist_ok=True)
    return api.model_info(address.repo, revision=address.revision)


def _check_free(present: Iterable[str], kind: Kind, address: HubAddress) -> None:
    """Refuse to write over what recoseg has not written, or over another kind of thing."""
    held = sorted(set(present) - _NEUTRAL)
    found = kind_in(held)
    if not held or found == kind:
        return
    what = WHAT[found] if found else f"{', '.join(held[:3])}, which recoseg has not written"
    raise HubError(
        f"{address.repo} holds {what}. Expected a new repository, or one with {WHAT[kind]} that is "
        "to be replaced. Name another one; nothing was uploaded."
    )


def _refusal(address: HubAddress, error: Exception) -> HubError:
    """What the client has raised while it wrote, in plain words."""
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) in _FORBIDDEN:
        return HubError(
            f"The Hub does not let you write to {address.repo}. Expected a token that may write, "
            f"of {address.repo.split('/')[0]} or of somebody who may write for them. Make one at "
            f"{hub_endpoint()}/settings/tokens, and log in by {LOG_IN}."
        )
    return hub_error(address, error)
