"""Checks the shapes and dtypes that jaxtyping's annotations promise, wherever tests call recoseg.

Other types are mypy's: beartype would refuse the small fakes that tests pass for protocols.
"""

import re

from beartype import beartype

_SHAPED = re.compile(r"\b(Float|Int|UInt|Bool|Num|Shaped|Integer|Real)\d*\[")


def check(function):
    """Check arguments and results whose annotations hold a shape."""
    shaped = {name: hint for name, hint in function.__annotations__.items() if _holds_shape(hint)}
    function.__annotations__ = shaped
    return beartype(function) if shaped else function


def _holds_shape(hint):
    """Whether a value can be checked for a shape; the shapes that a callable takes cannot."""
    return _SHAPED.search(str(hint)) and "Callable[" not in str(hint)
