"""Errors that tell what was expected, what was got and what to do."""

from __future__ import annotations


class RecosegError(Exception):
    """The base of every error that recoseg raises on purpose; its text is meant for the user."""


class BadImageError(RecosegError):
    """A photo that cannot be used; the text is the reason alone, without the photo's name."""


class MissingWeightsError(RecosegError):
    """Weights that are neither on this machine nor to be had over the network now."""


class MissingExtraError(RecosegError):
    """An optional dependency that is not installed; the text holds the install command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed.\n"
            f"Install it with: pip install 'recoseg[{extra}]'"
        )


class UnknownNameError(RecosegError):
    """A name that no table holds; the text lists the valid ones."""

    def __init__(self, kind: str, name: str, valid: list[str]) -> None:
        super().__init__(f"Unknown {kind} {name!r}. Valid: {', '.join(valid)}.")


class ArchiveError(RecosegError):
    """An archive index that is missing, damaged, or made with other settings."""


class EncoderMismatchError(RecosegError):
    """Embeddings or a concept bank used with encoders that did not make them."""


class ConceptError(RecosegError):
    """A list of classes, or a concept bank's entry, that cannot be used as asked."""


class LabelError(RecosegError):
    """Labels that do not belong to the classes they are compared as."""


class DatasetError(RecosegError):
    """A data set whose folders, files or label space are not as its reader expects them."""
