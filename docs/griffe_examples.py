"""Show the section `Example` of docstrings as `Examples`, whose doctests are set as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_TITLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)


class DoctestExamples(griffe.Extension):
    """Renames the section when a docstring has been read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """See `griffe.Extension`."""
        if obj.docstring:
            obj.docstring.value = _TITLE.sub(r"\1Examples:", obj.docstring.value)
