"""One photo in the format of another tool, without a run and its record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from recoseg.formats.format_table import formats_of
from recoseg.formats.photo_files import file_of, name_only
from recoseg.formats.place import Place
from recoseg.formats.protocol import FormatSettings, Labelled
from recoseg.labels import Segmentation
from recoseg.storage.reading import read_bytes

_MOST = 1 << 32  # bytes of a file; it has just been written here


def files_of_photo(
    segmentation: Segmentation, photo: bytes, form: str, name: str = "photo"
) -> Mapping[str, bytes]:
    """The files of a format for one photo, as `recoseg convert` writes them.

    Args:
        segmentation: The label map.
        photo: The bytes of the photo's file. A copy of the photo is among the files where the tool
            looks for it there.
        form: Name of the format; see `FORMATS`.
        name: Name of the photo in the files, without suffix.

    Returns:
        The content of each file by its name, with `/` between folders.

    Raises:
        MissingExtraError: A package that the format needs is not installed.
        UnknownNameError: There is no such format; the message lists all.
        RecosegError: The format holds fewer classes.
        BadImageError: The photo cannot be decoded, or has another size than the label map.
    """
    chosen = formats_of([form], len(segmentation.names))[form]
    names = segmentation.names
    settings = FormatSettings(names, segmentation.palette, things=names)
    kept = None if segmentation.instances is None else segmentation.instances.numbers
    item = Labelled(1, name, segmentation.labels, settings, instances=kept)
    file = name_only(f"{name}.jpg")
    if chosen.photos != "none":
        file = file_of(photo, "", item.size, only_jpeg=chosen.only_jpeg)
    with TemporaryDirectory(prefix="recoseg-") as home:
        place = Place(Path(home), form, lambda _: None)
        with chosen(place, settings) as writer:
            if chosen.photos == "copy" and file.data is not None:
                place.write(f"{chosen.photos_in}{file.named(name)}", file.data)
            writer.add(item, file)
            writer.finish()
        for spool in place.spools.values():
            spool.remove()
        root = Path(home) / form
        found = sorted(path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): read_bytes(path, _MOST) for path in found}
