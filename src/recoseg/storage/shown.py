"""Names from files and from other machines, shown so that they cannot act on a terminal."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
"""Characters without a shape of their own that several scripts and emoji need."""

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control, format (such as changes of direction), half of a pair, and separators of lines."""


def is_unsafe(letter: str) -> bool:
    """Whether a character acts on a terminal or on its neighbours instead of being visible."""
    return unicodedata.category(letter) in _UNSAFE and letter not in _JOINERS


def shown(text: object) -> str:
    r"""A text in one line of visible characters; all others become escapes such as `\x1b`.

    Names of files may hold line breaks, commands for the terminal, changes of the writing
    direction, and bytes that are not UTF-8. Whatever shows a name shows it by this function.

    Example:
        >>> print(shown("dog\x1b[2K été 犬.jpg"))
        dog\x1b[2K été 犬.jpg
        >>> print(shown("a\nb\u202e"))
        a\nb\u202e
    """
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(_escape(letter) if is_unsafe(letter) else letter for letter in plain)


def shown_lines(text: object) -> str:
    """A text of several lines, each of which is shown as by `shown`."""
    return "\n".join(map(shown, str(text).split("\n")))


def _escape(letter: str) -> str:
    return ascii(letter)[1:-1]
