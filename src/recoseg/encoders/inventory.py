"""Which weights files encoders need, and whether they are on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from recoseg.encoders.decoder_sources import DECODERS
from recoseg.encoders.encoder_table import find_row, list_encoders
from recoseg.encoders.licences import SAM
from recoseg.encoders.presets import Preset
from recoseg.encoders.spec import EncoderRole, EncoderRow, parse_spec
from recoseg.encoders.tracker_sources import TRACKERS, TrackerRow
from recoseg.encoders.weight_sources import WeightSource
from recoseg.errors import RecosegError, UnknownNameError

Role = EncoderRole | Literal["decoder", "tracker"]
"""What a file is for."""


@dataclass(frozen=True)
class NeededFile:
    """A weights file that encoders need.

    Attributes:
        encoder: Name of the first encoder, decoder or tracker that needs it.
        roles: What these do; empty if only their names were asked for.
        source: Where it is published.
        licence: Licence of the weights, as published.
    """

    encoder: str
    roles: tuple[Role, ...]
    source: WeightSource
    licence: str


def rows_of_preset(chosen: Preset) -> list[tuple[EncoderRole, EncoderRow]]:
    """The encoders of a preset, with all recipes, by their roles."""
    phis = dict.fromkeys((*chosen.phi, *chosen.paper_phi))
    asked: list[tuple[EncoderRole, str]] = [("retrieval", chosen.retrieval)]
    asked += [("saliency", chosen.saliency), *(("phi", phi) for phi in phis)]
    return [(role, find_row(parse_spec(spec).name, role)[0]) for role, spec in asked]


def files_of_preset(chosen: Preset) -> tuple[NeededFile, ...]:
    """The files that a preset needs, each once, with all recipes."""
    found: list[NeededFile] = []
    for role, row in rows_of_preset(chosen):
        found += _files_of(row, (role,))
    if chosen.decoder:
        found.append(_of_decoder(chosen.decoder, ("decoder",)))
    return _each_once(found)


def files_of_trackers() -> tuple[NeededFile, ...]:
    """The files of all trackers; those of `sam3` are the files of the decoder of this name."""
    return tuple(_of_tracker(row, ("tracker",)) for row in TRACKERS)


def files_of_encoder(name: str) -> tuple[NeededFile, ...]:
    """The files that an encoder of the table, a decoder, or a tracker of films needs.

    Raises:
        UnknownNameError: There is none of this name; the message lists the valid names.
        RecosegError: The name is that of a family, whose library knows the files.
    """
    if name in DECODERS:
        return (_of_decoder(name, ()),)
    trackers = {row.name: row for row in TRACKERS}
    if name in trackers:
        return (_of_tracker(trackers[name], ()),)
    rows = {row.name: row for row in list_encoders()}
    base = name if name in rows else name.rpartition("/")[0]
    if base not in rows:
        prefix, colon, _ = name.partition(":")
        if prefix + colon in rows:
            raise RecosegError(
                f"{name} is a model of another library, which gets its weights when it is first "
                "used, for instance by `recoseg index`."
            )
        valid = [one for one in rows if not one.endswith(":")]
        valid += [*DECODERS, *(one for one in trackers if one not in DECODERS)]
        raise UnknownNameError("encoder", name, valid)
    return _each_once(_files_of(rows[base], ()))


def _of_decoder(name: str, roles: tuple[Role, ...]) -> NeededFile:
    return NeededFile(name, roles, DECODERS[name].source, SAM)


def _of_tracker(row: TrackerRow, roles: tuple[Role, ...]) -> NeededFile:
    return NeededFile(row.name, roles, row.source, row.licence)


def _files_of(row: EncoderRow, roles: tuple[Role, ...]) -> list[NeededFile]:
    sources = (row.source, *row.companions)
    return [
        NeededFile(row.name, roles, source, row.licence) for source in sources if source is not None
    ]


def _each_once(files: Iterable[NeededFile]) -> tuple[NeededFile, ...]:
    found: dict[WeightSource, NeededFile] = {}
    for file in files:
        known = found.setdefault(file.source, file)
        roles = dict.fromkeys((*known.roles, *file.roles))
        found[file.source] = replace(known, roles=tuple(roles))
    return tuple(found.values())
