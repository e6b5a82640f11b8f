"""Features that a run keeps for the next one, which goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import ConceptBank
from recoseg.encoders.encoder_table import is_own
from recoseg.errors import OutputError
from recoseg.storage.cache import cache_folder
from recoseg.storage.locks import lock_file

DAYS = 7
"""Features that no run has used for so long are removed by the next one."""

_NAME = re.compile("[0-9a-f]{32}")


@contextmanager
def kept_for_next_run(index: ArchiveIndex, bank: ConceptBank) -> Iterator[Path | None]:
    """A folder for the features of a run, which leaves it to the next one.

    The next run that learns from the same index uses it, whether this one succeeds or ends by an
    error, by Ctrl-C or with the process. It lies in the user's cache folder, and a run has it for
    itself.

    Args:
        index: The index that is learnt from.
        bank: The bank whose encoders are used.

    Yields:
        The folder; None where another run has it now, where it cannot be written to, or where an
        encoder is one of the user's own, whose code may change between two runs.
    """
    location = index.location.encode("utf-8", "surrogateescape")
    home = cache_folder("learning")
    folder = home / hashlib.blake2b(location, digest_size=16).hexdigest()
    phis = any(is_own(info.name, "phi") for info in bank.encoders.phi)
    if phis or is_own(bank.encoders.saliency.name, "saliency"):
        yield None
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_file(folder))
            folder.mkdir(exist_ok=True)
            os.utime(folder)
            _remove_old(home, folder)
        except (OutputError, OSError):
            yield None
            return
        yield folder


def say_what_is_kept(folder: Path | None) -> str:
    """What an interrupted run leaves, in a sentence; `folder` is where its features are kept."""
    if folder is None:
        return (
            "No class was written. With --cache FOLDER the features of photos are kept for the "
            "next run."
        )
    return f"{folder} keeps the features of the photos so far; run the same command again."


def _remove_old(home: Path, own: Path) -> None:
    """Remove the folders of other indexes that no run has used for long."""
    oldest = time.time() - DAYS * 86_400
    for folder in home.iterdir():
        if _NAME.fullmatch(folder.name) and folder != own and not folder.is_symlink():
            with suppress(OutputError, OSError), lock_file(folder):  # refused while it is used
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder)
