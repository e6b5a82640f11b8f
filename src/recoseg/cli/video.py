"""`recoseg segment --video`: write masks and identities of films."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recoseg.cli.output import refuse_nothing, refuse_unused, say
from recoseg.storage.counts import count_of


def segment_films(
    bank: Path,
    films: Sequence[str],
    out: Path,
    *,
    tracker: str | None,
    every: int | None,
    **options: Any,
) -> None:
    """Segment films, and print what came of it.

    Args:
        bank: Concept bank or trained model.
        films: Films, and folders of frames.
        out: Folder to write to.
        tracker: The tracker; None for the default.
        every: Frames from one key frame to the next; None for the default.
        **options: Further options of `segment_video`.
    """
    from recoseg.encoders.tracker_sources import NO_TRACKER
    from recoseg.pipeline.video import segment_video

    if tracker == NO_TRACKER:
        refuse_unused("with --tracker none, which segments every frame", {"key-every": every})
    given: dict[str, Any] = {"tracker": tracker, "every": every}
    chosen = {name: value for name, value in given.items() if value is not None}
    done = segment_video(bank, films, out, progress=None, **chosen, **options)
    for path, reason in done.failures.items():
        say(f"Left out: {path}: {reason}", err=True)
    for note in done.notes:
        say(f"Note: {note}", err=True)
    refuse_nothing(done.frames, done.frames + len(done.failures), "segmented")
    say(
        f"Masks of {count_of(done.frames, 'frames')} "
        f"({count_of(done.key_frames, 'key frames')}): {out}"
    )
    for path, count in done.identities.items():
        say(f"{path}: {count_of(count, 'identities')}")
    for preview in done.previews:
        say(f"Preview: {preview}")
