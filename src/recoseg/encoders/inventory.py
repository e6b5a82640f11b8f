"""Which weights files encoders need, and whether they are on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from recoseg.encoders.encoder_table import find_row, list_encoders
from recoseg.encoders.presets import Preset
from recoseg.encoders.spec import EncoderRole, EncoderRow, parse_spec
from recoseg.encoders.weight_sources import WeightSource
from recoseg.errors import RecosegError, UnknownNameError


@dataclass(frozen=True)
class NeededFile:
    """A weights file that encoders need.

    Attributes:
        encoder: Name of the first encoder that needs it.
        roles: What those encoders do; empty if only their names were asked for.
        source: Where it is published.
        licence: Licence of the weights, as published.
    """

    encoder: str
    roles: tuple[EncoderRole, ...]
    source: WeightSource
    licence: str


def files_of_preset(chosen: Preset) -> tuple[NeededFile, ...]:
    """The files that a preset needs, each once, with all recipes."""
    phis = dict.fromkeys((*chosen.phi, *chosen.paper_phi))
    asked: list[tuple[EncoderRole, str]] = [("retrieval", chosen.retrieval)]
    asked += [("saliency", chosen.saliency), *(("phi", phi) for phi in phis)]
    found: list[NeededFile] = []
    for role, spec in asked:
        row, _ = find_row(parse_spec(spec).name, role)
        found += _files_of(row, (role,))
    return _each_once(found)


def files_of_encoder(name: str) -> tuple[NeededFile, ...]:
    """The files that an encoder of the table needs.

    Raises:
        UnknownNameError: The table has no such encoder; the message lists the valid names.
        RecosegError: The name is that of a family, whose library knows the files.
    """
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
        raise UnknownNameError("encoder", name, valid)
    return _each_once(_files_of(rows[base], ()))


def _files_of(row: EncoderRow, roles: tuple[EncoderRole, ...]) -> list[NeededFile]:
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
