"""Encoders of one's own: named as `MODULE:NAME`, or registered by an installed package.

A package registers encoders as entry points of the group `recoseg.encoders`:

    [project.entry-points."recoseg.encoders"]
    mine = "my_package.encoders:Mine"

Both name an encoder, or a class or function that makes one. It is called with those of the
arguments `weights` (the file after `NAME=`, or None), `device` and `precision` that it takes. Only
what the user names or has installed is imported, never what a bank or an index says.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from recoseg.device import Compute
from recoseg.encoders.protocols import MEMBERS
from recoseg.encoders.spec import BuildRequest, Encoder, EncoderRole, EncoderRow, EncoderSpec
from recoseg.errors import OptionError, RecosegError

GROUP = "recoseg.encoders"
"""The group of entry points."""

_PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_place(name: str) -> bool:
    """Whether a name has the form `MODULE:NAME`.

    Example:
        >>> is_place("my_models.dense:Phi"), is_place("open_clip:ViT-B-16/openai"), is_place("lite")
        (True, False, False)
    """
    return _PLACE.fullmatch(name) is not None


@lru_cache(maxsize=1)
def registered() -> tuple[EncoderRow, ...]:
    """The rows of the encoders that installed packages register, in order of their names."""
    roles: tuple[EncoderRole, ...] = ("retrieval", "saliency", "phi")
    found = {point.name: point for point in entry_points(group=GROUP)}
    return tuple(
        EncoderRow(
            name, roles, _builder(point), "", None, "see its package", 0, f"from {_source(point)}"
        )
        for name, point in sorted(found.items())
    )


def build_from_place(role: EncoderRole, spec: EncoderSpec, compute: Compute) -> Encoder:
    """Import what `MODULE:NAME` names and make the encoder of it.

    Modules are found as Python finds them, and in the working folder.

    Raises:
        RecosegError: It cannot be imported or made, or is not an encoder.
    """
    module, _, name = spec.name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last: nothing that is installed is replaced
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # a module may do anything when it is imported
        raise RecosegError(
            f"The {role} encoder {spec.name} cannot be imported ({_said(error)}). Expected a name "
            "that `recoseg encoders` lists, or MODULE:NAME with the module in the working folder "
            "or installed."
        ) from error
    return _make(role, found, spec, compute)


def _builder(point: EntryPoint) -> Callable[[BuildRequest], Encoder]:
    def build(request: BuildRequest) -> Encoder:
        try:
            found = point.load()
        except Exception as error:  # a package may do anything when it is imported
            raise RecosegError(
                f"The {request.role} encoder {point.name} of {_source(point)} cannot be imported "
                f"({_said(error)})."
            ) from error
        return _make(request.role, found, request.spec, request.compute)

    return build


def _make(role: EncoderRole, found: Any, spec: EncoderSpec, compute: Compute) -> Encoder:
    is_encoder = not isinstance(found, type) and _lacks(found, role) == []
    if is_encoder and spec.weights is None:
        return found
    if not callable(found):
        raise RecosegError(_not_one(role, spec, found))
    given = {
        "weights": spec.weights,
        "device": str(compute.device),
        "precision": compute.precision,
    }
    try:
        taken = inspect.signature(found).parameters
        arguments = {name: value for name, value in given.items() if name in taken}
        if spec.weights is not None and "weights" not in taken:
            raise OptionError(
                f"{spec.name} takes no argument `weights`, so {spec.weights} would have no effect. "
                "Leave it out."
            )
        made = found(**arguments)
    except RecosegError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise RecosegError(
            f"The {role} encoder {spec.name} cannot be made ({_said(error)}). It is called with "
            "those of the arguments weights, device and precision that it takes."
        ) from error
    if _lacks(made, role):
        raise RecosegError(_not_one(role, spec, made))
    return made


def _lacks(found: object, role: EncoderRole) -> list[str]:
    return [name for name in MEMBERS[role] if not hasattr(found, name)]


def _not_one(role: EncoderRole, spec: EncoderSpec, found: object) -> str:
    return (
        f"{spec.name} gave a {type(found).__name__}, which lacks {', '.join(_lacks(found, role))}. "
        f"Expected a {role} encoder with the members {', '.join(MEMBERS[role])}, or a class or "
        "function that makes one."
    )


def _source(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else point.value


def _said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
