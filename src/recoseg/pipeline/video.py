"""Segmenting films and sequences of frames (`recoseg segment --video`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from recoseg.datasets.masks import decode_values
from recoseg.device import resolve_compute
from recoseg.encoders.spec import parse_spec
from recoseg.encoders.tracker_sources import NO_TRACKER, tracker_row
from recoseg.errors import BadImageError
from recoseg.labels import Segmentation
from recoseg.photos.files import MAX_BYTES
from recoseg.pipeline.checks import Paths, as_list, check_output_folder
from recoseg.pipeline.mask_folder import check_place, claim_masks, claim_video
from recoseg.pipeline.segment import Segmentable, open_segmenter
from recoseg.progress import StageProgress, resumable, telling_what_is_kept
from recoseg.segmentation.segmenter import Segmenter
from recoseg.storage.locks import lock_folder
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_bytes
from recoseg.video.film import av_package
from recoseg.video.following import Follower, FollowSettings
from recoseg.video.output import SequenceFolder, identity_maps
from recoseg.video.preview import PREVIEWS, painted, write_preview
from recoseg.video.sam import load_tracker
from recoseg.video.sequence import FilmSequence, Frames, list_sequences
from recoseg.video.tracker import Tracker
from recoseg.writers.folder import OutputFolder


@dataclass
class VideoReport:
    """Results of a run.

    Attributes:
        sequences: Number of films and folders that were found.
        frames: Number of frames that have masks.
        key_frames: How many of these were segmented; the others were tracked.
        identities: Number of identities in each sequence, by its path.
        failures: Reason for each film or frame that has no masks, by path.
        notes: What was wrong with films that could be read in part, in sentences.
        previews: The previews that were written.
    """

    sequences: int = 0
    frames: int = 0
    key_frames: int = 0
    identities: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    previews: list[Path] = field(default_factory=list)


def segment_video(
    source: Segmenter | Segmentable,
    films: Paths,
    out: str | Path,
    *,
    tracker: str | Tracker = "sam2",
    every: int = FollowSettings.every,
    least_iou: float = FollowSettings.least_iou,
    least_part: float = FollowSettings.least_part,
    most_parts: int = FollowSettings.most_parts,
    previews: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    exclude: str | Sequence[str] = (),
    progress: bool | None = False,
    **options: Any,
) -> VideoReport:
    """Segment films frame by frame, and write label maps and identities of all frames.

    Every so many frames one is segmented, a key frame; a tracker carries its masks to the frames
    between; see `Follower`. Frames are read one at a time.

    Args:
        source: A segmenter, or a source that `open_segmenter` accepts.
        films: Films, and folders, lists, tar shards or globs of photos, each of which is a sequence
            of frames in the order of `list_sources`.
        out: Folder to write to; see `OutputFolder`. The line of each frame has, in addition,
            `sequence`, `frame` (its number, from 0), `seconds` (its time), `key` and `identities`.
        tracker: `NAME` or `NAME=FOLDER`, see `recoseg.encoders.tracker_sources.TRACKERS`; `none`
            to segment every frame; or a tracker of one's own.
        every: Frames from one key frame to the next; 1 with the tracker `none`.
        least_iou: See `FollowSettings`.
        least_part: See `FollowSettings`.
        most_parts: See `FollowSettings`.
        previews: Whether to write a film with the masks painted over it for each sequence.
        resume: Whether to continue an interrupted run in `out` with the same settings. It goes on
            from the last key frame; the masks are those of a run that was not interrupted.
        overwrite: Whether to remove what an earlier run has written to `out`.
        exclude: Patterns of photos that are left out; see `Exclusion`.
        progress: See `StageProgress`.
        **options: Options of `open_segmenter`, used unless `source` is a segmenter.

    Raises:
        ArchiveError: A source does not exist.
        MissingExtraError: PyAV is not installed, but there are films to read or previews to write.
        OutputError: `out` holds an earlier run, or is being written to.
        RecosegError: There are no frames, or an option does not fit.
    """
    settings = FollowSettings(
        1 if tracker == NO_TRACKER else every, least_iou, least_part, most_parts
    )
    if isinstance(tracker, str) and tracker != NO_TRACKER:
        tracker_row(parse_spec(tracker).name)
    folder = check_output_folder(out)
    check_place(folder)
    report = VideoReport()
    with lock_folder(folder):
        claim_masks(folder, report=False, resume=resume, overwrite=overwrite)
        claim_video(folder, resume=resume, overwrite=overwrite)
        listed = list_sequences(as_list(films), folder, exclude)
        report.sequences = len(listed)
        if previews or any(isinstance(one, FilmSequence) for one in listed):
            av_package()
        if not isinstance(source, Segmenter):
            source = open_segmenter(source, **options)
        chosen = _tracker(tracker, options)
        with (
            telling_what_is_kept(partial(resumable, folder)),
            _folder_of(source, chosen, settings, folder, resume, overwrite) as output,
        ):
            for frames in listed:
                try:
                    _segment(source, chosen, settings, frames, output, report, progress)
                    if previews:
                        _preview(source, frames, output, report, progress)
                except BadImageError as error:
                    report.failures[frames.path] = str(error)
                    output.write_failure(frames.path, str(error))
    return report


def _tracker(given: str | Tracker, options: Mapping[str, Any]) -> Tracker | None:
    """The tracker that is asked for, on the device of the encoders; None for none."""
    if not isinstance(given, str):
        return given
    if given == NO_TRACKER:
        return None
    device, precision = options.get("device", "auto"), options.get("precision", "auto")
    compute = resolve_compute(device, precision)
    if precision == "auto" and compute.device.type == "cpu":
        compute = resolve_compute(device, "fp32")  # bf16 took 1.4 times as long, even where native
    return load_tracker(given, compute)


def _folder_of(
    source: Segmenter,
    tracker: Tracker | None,
    settings: FollowSettings,
    folder: Path,
    resume: bool,
    overwrite: bool,
) -> OutputFolder:
    followed = {
        **asdict(settings),
        "tracker": None if tracker is None else dict(tracker.settings),
    }
    return OutputFolder(
        folder,
        source.names,
        source.palette,
        writers=["labels", identity_maps()],
        settings={**source.settings, source.kind: source.fingerprint, "video": followed},
        resume=resume,
        overwrite=overwrite,
    )


def _segment(
    source: Segmenter,
    tracker: Tracker | None,
    settings: FollowSettings,
    frames: Frames,
    output: OutputFolder,
    report: VideoReport,
    progress: bool | None,
) -> None:
    """Write the masks of one sequence."""
    own = SequenceFolder(output, frames, source.names)
    state = own.state()
    start = 0 if state is None else state.frame
    read = frames.frames(start)
    first = next(read, None)  # a film is opened here
    if first is None:
        raise BadImageError("holds no frame that can be decoded")
    follower = Follower(
        lambda image: next(source.stream([image])),
        source.names,
        source.palette,
        tracker,
        settings,
        state,
    )
    done = 0 if state is None else start + 1
    what = f"Segmenting {Path(frames.path).name}"
    with StageProgress(what, frames.count, unit="frames", start=done, enabled=progress) as bar:
        for found in follower.follow(chain([first], read)):
            own.write(found)
            failure = found.frame.photo.failure
            if failure:
                report.failures[found.frame.photo.path] = failure
            bar.advance(failed=bool(failure))
    report.notes += [f"{frames.path}: {note}" for note in frames.notes]
    report.frames += len(own.lines)
    report.key_frames += sum(bool(line["key"]) for line in own.lines.values())
    given = {one["id"] for line in own.lines.values() for one in line["identities"]}
    report.identities[frames.path] = len(given)


def _preview(
    source: Segmenter,
    frames: Frames,
    output: OutputFolder,
    report: VideoReport,
    progress: bool | None,
) -> None:
    """Write the preview of one sequence, whose frames are read again."""
    lines = SequenceFolder(output, frames, source.names).lines
    if not lines:
        return
    path = inside(output.folder, f"{PREVIEWS}/{frames.name}.mp4")

    def pictures() -> Iterator[tuple[float | None, Image.Image]]:
        with StageProgress("Painting", len(lines), unit="frames", enabled=progress) as bar:
            for frame in frames.frames():
                line = lines.get(frame.number)
                if line is None or frame.image is None:
                    continue
                data = read_bytes(inside(output.folder, line["files"]["labels"]), MAX_BYTES)
                found = Segmentation(decode_values(data), source.names, source.palette)
                yield frame.seconds, painted(frame.image, found, line["identities"])
                bar.advance()

    path.parent.mkdir(parents=True, exist_ok=True)
    write_preview(path, pictures())
    report.previews.append(path)
