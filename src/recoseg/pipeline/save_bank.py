"""Writing a bank that took long to learn, so that it is not lost with its place."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from recoseg.concepts import ConceptBank
from recoseg.errors import OutputError
from recoseg.storage.cache import cache_folder


def save_bank(bank: ConceptBank, file: Path) -> None:
    """Write the bank; if its place has become unusable, write it to one that is not lost with it.

    Raises:
        OutputError: The bank could not be written to its place.
    """
    try:
        bank.save(file)
    except OSError as error:
        reason = error.strerror or str(error)
        for folder in (cache_folder("rescued"), Path(tempfile.gettempdir())):
            rescued = folder / f"{secrets.token_hex(4)}-{file.name}"
            with suppress(OSError):
                bank.save(rescued)
                raise OutputError(
                    f"Cannot write {file}: {reason}. The bank is complete; it was written to "
                    f"{rescued} instead. Move it from there."
                ) from error
        raise OutputError(f"Cannot write {file}: {reason}. The bank could not be kept.") from error
