"""Putting a bank, a model or a region memory on the Hugging Face Hub (`recoseg push`)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from recoseg.concepts import ConceptBank
from recoseg.errors import HubError, MissingFileError, OptionError
from recoseg.hub.address import HubAddress, check_repo, is_hub, is_revision
from recoseg.hub.fetch import local_path
from recoseg.hub.layout import PICKLES
from recoseg.memory.region_memory import RegionMemory
from recoseg.memory.verify import verify_memory
from recoseg.pipeline.checks import check_output_folder
from recoseg.pipeline.kinds import describe_kind, kind_of
from recoseg.publishing.staging import Publishable, Staged, stage
from recoseg.publishing.upload import check_login, upload
from recoseg.storage.cache import cache_folder
from recoseg.training.model import TrainedModel, model_file

_EXPECTED = (
    "Expected a concept bank, a trained model (or the folder of its run), or a region memory."
)


@dataclass(frozen=True)
class PushReport:
    """What was uploaded, or would be.

    Attributes:
        address: Where it is on the Hub, at the commit if it was uploaded: what other commands take.
        url: The page of the repository.
        files: The files, with `/` between folders.
        card: The model card; empty if the one that is there was left.
        paths: Paths of this machine that the bank, model or memory records, by what they are paths
            of.
        kept: Whether these paths are in the files.
        is_new: Whether there is a new commit; none is made if nothing has changed.
    """

    address: str
    url: str
    files: tuple[str, ...]
    card: str
    paths: Mapping[str, tuple[str, ...]]
    kept: bool
    is_new: bool


def push(
    source: Publishable | str | Path,
    repo: str,
    *,
    private: bool = False,
    branch: str | None = None,
    figures: str | Path | None = None,
    keep_paths: bool = False,
    keep_card: bool = False,
    message: str = "",
    dry_run: str | Path | None = None,
    progress: bool | None = False,
) -> PushReport:
    """Upload a concept bank, a trained model or a region memory to the Hugging Face Hub.

    All files go up in one commit. A model card is written of what the bank, model or memory
    records. Paths of this machine are left out; see `recoseg.publishing.local_paths`.

    Args:
        source: The bank, model or memory, or its file or folder.
        repo: The repository, `OWNER/NAME`; it is created if it does not exist.
        private: Whether a new repository is private.
        branch: Branch to write to, which is created if it does not exist. By default the main one.
        figures: Folder whose pictures go along and are shown in the card.
        keep_paths: Whether paths of photos, weights and memories are uploaded, too.
        keep_card: Whether the card that the repository has is left as it is.
        message: Message of the commit. By default it says what was uploaded.
        dry_run: New folder for what would be uploaded; nothing is uploaded then.
        progress: See `StageProgress`.

    Raises:
        OptionError: The repository or the branch has no such name.
        HubError: The user is not logged in or may not write there, the repository holds something
            else, or the upload failed; or the source is nothing that can be uploaded.
        RecosegError: The source is damaged.
    """
    address = HubAddress(check_repo(repo.removeprefix("hf:")), branch)
    if branch is not None and not is_revision(branch):
        raise OptionError(f"Cannot use {branch!r} as the name of a branch. Expected one like v2.")
    if dry_run is None:
        check_login()
    what = _opened(source, progress)
    with ExitStack() as stack:
        if dry_run is None:
            home = cache_folder("pushes")
            home.mkdir(parents=True, exist_ok=True)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=home)))
        else:
            folder = check_output_folder(dry_run)
        staged = stage(
            what,
            folder,
            str(address),
            figures=None if figures is None else Path(figures),
            keep_paths=keep_paths,
            with_card=not keep_card,
            progress=progress,
        )
        if dry_run is not None:
            return _report(staged, address, keep_paths, is_new=False)
        pushed = upload(staged, address, private=private, message=message)
        return _report(staged, pushed.address, keep_paths, is_new=pushed.is_new)


def _opened(source: Publishable | str | Path, progress: bool | None) -> Publishable:
    """What is to be uploaded, read and checked."""
    if not isinstance(source, str | Path):
        return source
    path = local_path(source) if is_hub(source) else Path(source).expanduser()
    if not path.exists():
        raise MissingFileError(f"No file or folder was found at {path}. {_EXPECTED}")
    if path.is_dir() and model_file(path).is_file():
        return TrainedModel.load(path)
    kind = kind_of(path)
    if kind == "recoseg-bank":
        return ConceptBank.load(path)
    if kind == "recoseg-model":
        return TrainedModel.load(path)
    if kind == "recoseg-memory":
        problems = verify_memory(path, progress).problems
        if problems:
            raise HubError(f"{problems[0]} Nothing was uploaded.")
        return RegionMemory.open(path)
    if path.suffix in PICKLES:
        raise HubError(
            f"{path} may hold code, and is not uploaded: weights go to the Hub as safetensors "
            f"only. {_EXPECTED}"
        )
    raise HubError(f"{describe_kind(path)} {_EXPECTED}")


def _report(staged: Staged, address: HubAddress, kept: bool, *, is_new: bool) -> PushReport:
    return PushReport(
        str(address), address.url, staged.files, staged.card, staged.paths, kept, is_new
    )
