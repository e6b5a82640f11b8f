"""The verdict on a class as answers have it."""

from __future__ import annotations

from recoseg.evidence import Verdict
from recoseg.serving import answers


def verdict_of(verdict: Verdict) -> answers.Verdict | None:
    """The judgement; None if nothing can be told."""
    return None if verdict.judgement == "unknown" else verdict.judgement
