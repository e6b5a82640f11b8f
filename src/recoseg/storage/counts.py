"""Numbers of things in messages: `1 photo`, `2,000 photos`."""

from __future__ import annotations

_ENDINGS = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("s", ""), ("", ""))
"""Endings of regular plurals and what they stand for, the longer ones first."""

_VERBS = {"have": "has", "are": "is", "were": "was", "do": "does"}
"""Verbs after several things, and after one."""


def count_of(number: int, nouns: str, verb: str = "") -> str:
    """A number with its noun, and perhaps a verb, in the singular for 1.

    Args:
        number: How many.
        nouns: The noun in its regular plural; words before it do not change.
        verb: `have`, `are`, `were`, `do`, or one that gets an s in the singular; may be empty.

    Example:
        >>> count_of(1, "photos"), count_of(1, "context classes"), count_of(2000, "entries")
        ('1 photo', '1 context class', '2,000 entries')
        >>> count_of(1, "photos", "have"), count_of(1, "rows", "lack")
        ('1 photo has', '1 row lacks')
    """
    if number == 1:
        ending, single = next(pair for pair in _ENDINGS if nouns.endswith(pair[0]))
        nouns = nouns.removesuffix(ending) + single
        verb = verb and _VERBS.get(verb, f"{verb}s")
    return f"{number:,} {nouns}{f' {verb}' if verb else ''}"
