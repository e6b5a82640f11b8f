"""Where trackers are published: models that follow instances through films."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.encoders.library_models import LibraryModel
from recoseg.encoders.licences import SAM
from recoseg.encoders.weight_sources import HubModel
from recoseg.errors import UnknownNameError

NO_TRACKER = "none"
"""Asks for no tracker: every frame is segmented."""

_OTHERWISE = "name a folder with them: --tracker {0}=/path/to/folder; or do without: --tracker none"


@dataclass(frozen=True)
class TrackerRow:
    """A tracker of the table.

    Attributes:
        name: The name it is asked for by.
        repo: The repository of its weights on the Hugging Face Hub.
        classes: Names of its model and its processor in transformers.
        needs: The oldest version of transformers that has them.
        licence: Licence of the weights.
    """

    name: str
    repo: str
    classes: tuple[str, str]
    needs: str
    licence: str

    @property
    def source(self) -> HubModel:
        """Where the weights are published."""
        return HubModel(self.repo, otherwise=_OTHERWISE.format(self.name))

    @property
    def model(self) -> LibraryModel:
        """The model as it is read by transformers."""
        return LibraryModel(
            f"the tracker {self.name}",
            self.classes,
            self.needs,
            "config.json, weights and the processor's settings",
            self.source,
        )


def _sam2(name: str, size: str) -> TrackerRow:
    classes = ("Sam2VideoModel", "Sam2VideoProcessor")
    return TrackerRow(name, f"facebook/sam2.1-hiera-{size}", classes, "4.56", "Apache-2.0")


TRACKERS = (
    _sam2("sam2", "large"),
    _sam2("sam2-base-plus", "base-plus"),
    _sam2("sam2-small", "small"),
    _sam2("sam2-tiny", "tiny"),
    TrackerRow(
        "sam3",
        "facebook/sam3",
        ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor"),
        "5.0",
        SAM,
    ),
)
"""All trackers."""


def tracker_row(name: str) -> TrackerRow:
    """The row of the table that has a name.

    Raises:
        UnknownNameError: No tracker has this name; the message lists the valid names.

    Example:
        >>> tracker_row("sam2-tiny").repo
        'facebook/sam2.1-hiera-tiny'
    """
    for row in TRACKERS:
        if row.name == name:
            return row
    raise UnknownNameError("tracker", name, [*(row.name for row in TRACKERS), NO_TRACKER])
