"""Why a request is refused, and the HTTP status of each reason."""

from __future__ import annotations

from recoseg.errors import BadImageError, MissingExtraError, OutputError, RecosegError
from recoseg.photos.opening import TooManyPixelsError


class RefusedError(RecosegError):
    """A request that is not answered; the message says why and what to do.

    Args:
        status: The HTTP status.
        message: Full sentences for the user.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


FAULT = "The server has a fault; its log says more."
STOPPING = "The server is being stopped. Ask again when it has been started."


def status_of(error: RecosegError) -> int:
    """The HTTP status that tells a client what kind of error it is.

    Example:
        >>> status_of(BadImageError("the file is empty")), status_of(OutputError("It is locked."))
        (422, 409)
    """
    if isinstance(error, RefusedError):
        return error.status
    if isinstance(error, OutputError):
        return 409
    if isinstance(error, TooManyPixelsError):
        return 413
    return 501 if isinstance(error, MissingExtraError) else 422


def sentence_of(error: RecosegError) -> str:
    """What the client is told of an error."""
    if isinstance(error, BadImageError):
        return f"The photo cannot be used: {error}. Send another one."
    return str(error)
