"""Removing classes from a concept bank (`recoseg forget`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recoseg.concepts import ConceptBank
from recoseg.errors import ConceptError
from recoseg.pipeline.checks import check_output_file, refuse_to_replace
from recoseg.storage.locks import lock_file


def forget(
    bank: str | Path,
    names: Sequence[str],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> ConceptBank:
    """Remove classes from the file of a concept bank. The other classes do not change.

    Args:
        bank: The bank.
        names: Names of the classes.
        out: File to write; None for that of the bank itself.
        overwrite: Whether another file may be replaced.

    Returns:
        The bank as it was written.

    Raises:
        ConceptError: The bank has no class of a name, or no other class would be left.
        OutputError: The file exists already, or another process is writing it.
    """
    target = check_output_file(bank if out is None else out)
    _without(ConceptBank.load(bank), names)  # what cannot be done is refused without a trace
    with lock_file(target):
        refuse_to_replace(target, overwrite=overwrite, source=bank)
        kept = _without(ConceptBank.load(bank), names)
        kept.save(target)
    return kept


def _without(bank: ConceptBank, names: Sequence[str]) -> ConceptBank:
    kept = bank.remove(names)
    if not kept.classes:
        raise ConceptError(
            f"Without {', '.join(names)} the bank has no class. Keep one of them, or delete the "
            "file."
        )
    return kept
