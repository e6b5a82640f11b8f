"""The errors of recoseg. Each message says what was expected, what was found, and what to do.

All of them derive from `RecosegError`, so that one `except` clause catches every error that is
meant for the user. Other exceptions are faults of the program.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A question that names what a mistyped name may stand for.

    Returns:
        The question, which begins with a space; empty if no valid name is near.

    Example:
        >>> did_you_mean("crain", ["crane", "dog"])
        " Did you mean 'crane'?"
    """
    names = {known.casefold(): known for known in valid}
    near = difflib.get_close_matches(name.casefold(), names, n=1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


class RecosegError(Exception):
    """Base class of all errors that recoseg raises deliberately; the message is for the user."""


class OptionError(RecosegError):
    """An option has a value out of range, or options do not fit together: wrong usage."""


class BadImageError(RecosegError):
    """A photo cannot be used. The message is the reason alone, without the photo's name."""


class MissingWeightsError(RecosegError):
    """Weights are neither on this machine nor available for download, or they are damaged."""


class MissingExtraError(RecosegError):
    """An optional package is not installed. The message contains the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed.\n"
            f"Install it with: pip install 'recoseg[{extra}]'"
        )


class UnknownNameError(OptionError):
    """A name is not in the table of valid names. The message lists them, and then gives advice."""

    def __init__(self, kind: str, name: str, valid: list[str], advice: str = "") -> None:
        near = did_you_mean(name, valid)
        text = f"Unknown {kind} {name!r}.{near} Valid: {', '.join(valid)}."
        super().__init__(f"{text} {advice}".rstrip())


class ArchiveError(RecosegError):
    """An index or a source of photos is missing or damaged, or was made with other settings."""


class EncoderMismatchError(RecosegError):
    """Embeddings or a concept bank are used with encoders other than those that made them."""


class ConceptError(RecosegError):
    """A list of classes or an entry of a concept bank cannot be used in the requested way."""


class LabelError(RecosegError):
    """Labels do not belong to the classes with which they are compared."""


class FileError(RecosegError):
    """A file is damaged, too large, or no regular file, or its name leaves its folder."""


class MissingFileError(FileError):
    """There is no such file."""


class OutputError(RecosegError):
    """An output cannot be written: it belongs to another run, program or process."""


class DatasetError(RecosegError):
    """The folders, files or labels of a dataset are not as its reader expects them."""


class HubError(RecosegError):
    """A repository on the Hugging Face Hub cannot be read or written."""
