"""The folder that masks are written to: claimed by one run, rid of what another run left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recoseg.drawing.report import claim_report, remove_report
from recoseg.errors import OutputError
from recoseg.segmentation.raster_to_folder import remove_tiles
from recoseg.storage.claim import claim, format_in
from recoseg.video.output import IDENTITIES
from recoseg.video.preview import PREVIEWS, remove_previews
from recoseg.writers.folder import CLASSES, FORMAT, LINES

FORMATS = "formats"
"""The folder within that of the masks which holds them in the formats of other tools."""

REPORT = "report"
"""The folder within it which holds the page of all masks."""

_ENTRIES = (LINES, CLASSES, "settings.json", "labels")


def check_place(folder: Path) -> None:
    """Refuse a folder within pseudo-labels.

    Raises:
        OutputError: It is one.
    """
    if (format_in(folder.absolute().parent) or "").startswith("recoseg-pseudo-labels"):
        raise OutputError(
            f"{folder} lies in a folder of pseudo-labels, which would then hold files of another "
            "run. Write to another folder."
        )


def check_formats(names: Sequence[str]) -> None:
    """Refuse formats of other tools that are not known, or whose package is missing.

    They are imported only where some are asked for: most runs write none, and begin sooner.

    Raises:
        MissingExtraError: A package is not installed.
        RecosegError: A format is not known.
    """
    if names:
        from recoseg.formats.format_table import formats_of

        formats_of(names)


def claim_masks(folder: Path, *, report: bool, resume: bool, overwrite: bool) -> None:
    """Claim a folder, which is locked, for masks.

    Args:
        folder: The folder.
        report: Whether a page of the masks is written, too.
        resume: Whether a run that was interrupted goes on.
        overwrite: Whether what an earlier run has written is removed: its formats, page and tiles
            would be those of other masks.

    Raises:
        OutputError: The folder holds something else, or an earlier run that is not to be replaced.
    """
    claim(folder, FORMAT, _ENTRIES, what="masks", resume=resume, overwrite=overwrite)
    if report:
        claim_report(folder / REPORT, replace=True)
    elif overwrite:
        remove_report(folder / REPORT)
    if overwrite:
        from recoseg.pipeline.convert import remove_formats

        remove_formats(folder / FORMATS)
        remove_tiles(folder)
        remove_previews(folder)


def claim_video(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Claim a folder, which is locked, for what films have beside label maps.

    Args:
        folder: The folder.
        resume: Whether a run that was interrupted goes on.
        overwrite: Whether what an earlier run has written is removed.

    Raises:
        OutputError: The folder holds files of others under these names.
    """
    claim(folder, FORMAT, (IDENTITIES, PREVIEWS), what="masks", resume=resume, overwrite=overwrite)
