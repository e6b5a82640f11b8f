"""How large the weights of encoders are: to download, and in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from recoseg.encoders.backbones import create_timm
from recoseg.encoders.builders import build_clip
from recoseg.encoders.clip_arch import ClipArch, build_open_clip
from recoseg.encoders.decoder_sources import DECODERS
from recoseg.encoders.download import find_here, size_of
from recoseg.encoders.encoder_table import list_encoders
from recoseg.encoders.inventory import NeededFile, files_of_preset
from recoseg.encoders.library_models import classes_of
from recoseg.encoders.presets import Preset
from recoseg.encoders.spec import EncoderRow
from recoseg.encoders.weight_sources import HubFolder, PackageFile

BYTES = 4
"""Bytes of a parameter in fp32, the precision in which most weights are published."""


@dataclass(frozen=True)
class PartSize:
    """A weights file of a preset and its size.

    Attributes:
        needed: The file.
        here: Whether it is on this machine.
        file_bytes: Its size: measured if it is here, otherwise that of all parameters in fp32.
        parameters: Number of parameters of the architecture; for files inside packages as many as
            their size holds in fp32.
    """

    needed: NeededFile
    here: bool
    file_bytes: int
    parameters: int


def sizes_of_preset(chosen: Preset) -> tuple[PartSize, ...]:
    """The files of a preset with their sizes; nothing is downloaded and no weights are read.

    Architectures are built without memory for their weights, to count these.

    Raises:
        RecosegError: An installed library is too old to have an architecture.
        MissingWeightsError: A file is here, but empty, damaged or another one.
    """
    rows = {row.name: row for row in list_encoders()}
    found = []
    for needed in files_of_preset(chosen):
        located = find_here(needed.source, needed.encoder)
        size = 0 if located is None else size_of(located.path)
        if isinstance(needed.source, PackageFile):
            count = size // BYTES
        elif needed.encoder in DECODERS:
            count = count_decoder()
        else:
            is_folder = isinstance(needed.source, HubFolder)
            count = 0 if is_folder else count_parameters(rows[needed.encoder])
        found.append(PartSize(needed, located is not None, size or count * BYTES, count))
    return tuple(found)


def count_decoder() -> int:
    """Number of parameters of SAM 3, whose files hold its tracker, too.

    Raises:
        RecosegError: The installed transformers does not have it.
    """
    sam3 = DECODERS["sam3"]
    names = ("Sam3VideoConfig", "Sam3VideoModel")
    config_class, model_class = classes_of(sam3.title, sam3.needs, names)
    with torch.device("meta"):
        module: nn.Module = model_class(config_class())
    return sum(parameter.numel() for parameter in module.parameters())


def count_parameters(row: EncoderRow) -> int:
    """Number of parameters of a row's architecture, of open_clip or timm."""
    module: nn.Module
    with torch.device("meta"):
        if row.build is build_clip:
            module = build_open_clip(ClipArch(row.arch, row.tag), row.name, device="meta")
        else:
            module = create_timm(row.arch)
    return sum(parameter.numel() for parameter in module.parameters())
