"""Encoders by name: look up the row of one, and build it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from recoseg.device import Compute
from recoseg.encoders.attention.recipes import VIT_RECIPES
from recoseg.encoders.encoder_rows import TABLE
from recoseg.encoders.own import build_from_place, is_place, registered
from recoseg.encoders.protocols import (
    DenseImageEncoder,
    DenseTextEncoder,
    EncoderInfo,
    ImageTextEncoder,
)
from recoseg.encoders.spec import (
    BuildRequest,
    Encoder,
    EncoderRole,
    EncoderRow,
    parse_spec,
)
from recoseg.errors import MissingWeightsError, RecosegError, UnknownNameError


def list_encoders(role: EncoderRole | None = None) -> list[EncoderRow]:
    """The rows of the table: all of them, or those that can take a role.

    Encoders that installed packages register follow; see `recoseg.encoders.own`.
    """
    names = {row.name for row in TABLE}
    own = [row for row in registered() if row.name not in names]
    return [row for row in (*TABLE, *own) if role is None or role in row.roles]


def find_row(name: str, role: EncoderRole) -> tuple[EncoderRow, str]:
    """Find the row of a name.

    Returns:
        The row, and the rest of the name after the row's own name; see `BuildRequest.rest`.

    Raises:
        UnknownNameError: No encoder of this role has the name; the message lists the valid names.

    Example:
        >>> row, rest = find_row("moco-v2-rn50/16", "phi")
        >>> row.arch, rest
        ('resnet50', '16')
    """
    rows = {row.name: row for row in list_encoders(role)}
    if name in rows and not name.endswith(":"):
        return rows[name], ""
    prefix, colon, model = name.partition(":")
    if colon and model and prefix + colon in rows:
        return rows[prefix + colon], model
    base, slash, variant = name.rpartition("/")
    if slash and variant and base in rows:
        return rows[base], variant
    valid = [row.name + ("MODEL" if row.name.endswith(":") else "") for row in rows.values()]
    valid.append("MODULE:NAME")
    raise UnknownNameError(f"{role} encoder", name, valid)


def is_own(name: str, role: EncoderRole) -> bool:
    """Whether a name is not of the table but of the form `MODULE:NAME`, which users may give."""
    try:
        find_row(name, role)
    except UnknownNameError:
        return is_place(name)
    return False


def needs_features(spec: str | EncoderInfo) -> bool:
    """Whether a saliency encoder needs the features of phi, such as `ViT-B/16/proxy`.

    Example:
        >>> needs_features("ViT-B/16/proxy=random"), needs_features("ViT-B/16/naclip")
        (True, False)
    """
    name = spec.name if isinstance(spec, EncoderInfo) else parse_spec(spec).name
    recipe = VIT_RECIPES.get(name.rpartition("/")[2])
    return recipe is not None and recipe.needs_features


def with_default_form(spec: str) -> str:
    """A saliency encoder as it is asked for; CLIP's ViTs without a form get `proxy`.

    That form is the best one where phi runs anyway. A name without a form that a bank has recorded
    keeps its meaning, `values`.

    Example:
        >>> with_default_form("ViT-B/16=clip.safetensors"), with_default_form("ViT-B/16/naclip")
        ('ViT-B/16/proxy=clip.safetensors', 'ViT-B/16/naclip')
    """
    asked = parse_spec(spec)
    forms = {row.name: row.form for row in list_encoders("saliency") if row.form}
    if asked.name not in forms:
        return spec
    return str(replace(asked, name=f"{asked.name}/{forms[asked.name]}"))


def build_retrieval(spec: str | EncoderInfo, compute: Compute) -> ImageTextEncoder:
    """Build a retrieval encoder.

    Args:
        spec: `NAME` or `NAME=WEIGHTS`, or what an index or a bank has recorded of its encoder.
        compute: Device and precision.

    Raises:
        UnknownNameError: There is no such encoder.
        MissingWeightsError: Its weights are not available.
    """
    return cast(ImageTextEncoder, _build("retrieval", spec, compute))


def build_saliency(
    spec: str | EncoderInfo, compute: Compute, proxy: EncoderInfo | None = None
) -> DenseTextEncoder:
    """Build a saliency encoder.

    Args:
        spec: As for `build_retrieval`.
        compute: Device and precision.
        proxy: The encoder whose features it is given if it needs any, such as `ViT-B/16/proxy`: by
            convention the first phi.

    Raises:
        UnknownNameError: There is no such encoder.
        MissingWeightsError: Its weights are not available.
        RecosegError: It needs features, and no proxy is named.
    """
    return cast(DenseTextEncoder, _build("saliency", spec, compute, proxy))


def build_phi(spec: str | EncoderInfo, compute: Compute) -> DenseImageEncoder:
    """Build a dense image encoder; arguments and errors are those of `build_retrieval`."""
    return cast(DenseImageEncoder, _build("phi", spec, compute))


def _build(
    role: EncoderRole,
    wanted: str | EncoderInfo,
    compute: Compute,
    proxy: EncoderInfo | None = None,
) -> Encoder:
    if isinstance(wanted, EncoderInfo):
        return _build_recorded(role, wanted, compute, proxy)
    return _build_spec(role, wanted, compute, proxy)


def _build_spec(
    role: EncoderRole,
    text: str,
    compute: Compute,
    proxy: EncoderInfo | None = None,
    recorded: str = "",
) -> Encoder:
    spec = parse_spec(text)
    if is_own(spec.name, role):
        return build_from_place(role, spec, compute)
    row, rest = find_row(spec.name, role)
    encoder = row.build(BuildRequest(role, row, spec, rest, compute, proxy, recorded))
    if row in TABLE and not spec.is_random:
        cast(Any, encoder).info = replace(encoder.info, licence=row.licence)
    return encoder


def check_recorded(info: EncoderInfo, role: EncoderRole) -> None:
    """Refuse the record of an encoder that was passed as an object, which no name builds again.

    Raises:
        RecosegError: The table has no such encoder for this role.
    """
    try:
        find_row(info.name, role)
    except UnknownNameError as error:
        raise RecosegError(
            f"The {role} encoder {info.name!r} was not built by name, so it cannot be built again. "
            f"Name it by --{role} MODULE:NAME, or pass the encoder itself: {role}=..."
        ) from error


def _build_recorded(
    role: EncoderRole, info: EncoderInfo, compute: Compute, proxy: EncoderInfo | None
) -> Encoder:
    """Build an encoder again from its record; published weights are tried if its file is gone."""
    check_recorded(info, role)
    if not info.file or Path(info.file).exists():
        return _build_spec(role, info.spec, compute, proxy, info.fingerprint)
    gone = (
        f"The weights file of the {role} encoder {info.name!r} is gone: {info.file}\n"
        f"Put it back, or say where it is now: --{role} {info.name}=/path/to/file\n"
        "The published weights were tried instead: "
    )
    try:
        encoder = _build_spec(role, info.spec, compute, proxy, info.fingerprint)
    except RecosegError as error:
        raise MissingWeightsError(f"{gone}{error}") from error
    if not encoder.info.same_as(info):
        raise MissingWeightsError(
            f"{gone}they are others (expected fingerprint {info.fingerprint}, got "
            f"{encoder.info.fingerprint})."
        )
    return encoder
