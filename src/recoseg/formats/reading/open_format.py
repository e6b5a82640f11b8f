"""Which format a file or folder is in, by what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recoseg.errors import DatasetError
from recoseg.formats.reading.coco import read_coco, read_panoptic
from recoseg.formats.reading.geographic import listed_in, read_geopackages, read_geotiffs
from recoseg.formats.reading.masks import FormatMasks, read_fields
from recoseg.formats.reading.shapes import read_cvat, read_label_studio, read_labelme, read_yolo
from recoseg.formats.reading.values import read_huggingface, read_voc
from recoseg.rasters.label_files import RASTER
from recoseg.storage.claim import format_in

RUN = "recoseg-formats-1"
"""The format of a folder that `recoseg convert` has written, which holds those of the formats."""

Reader = Callable[[Path, Path], FormatMasks]
"""From the file (or folder) that tells the format, and the format's folder."""

_FILES: tuple[tuple[str, Reader], ...] = (
    ("panoptic.json", read_panoptic),
    ("annotations.json", read_coco),
    ("data.yaml", read_yolo),
    ("annotations.xml", read_cvat),
    ("tasks.json", read_label_studio),
)
_FOLDERS: tuple[tuple[str, str, Reader], ...] = (
    ("SegmentationClass", "*.png", read_voc),
    ("data", "*.parquet", read_huggingface),
    ("annotations", "*.json", lambda path, root: _one_json(path / "annotations", root)),
)


def open_format(location: Path) -> FormatMasks | None:
    """The masks in a folder of one of the formats, or in the one file that holds them.

    Args:
        location: A folder as `recoseg convert` writes it, such as `formats/coco`, or that of the
            tool; or a JSON file of COCO or Label Studio, an XML file of CVAT, or YOLO's YAML file.

    Returns:
        The masks; None if it is none of these.

    Raises:
        DatasetError: Its files are not as the format has them.
    """
    if location.is_file():
        return _open_file(location)
    own = format_in(location)
    if own == RUN:
        raise DatasetError(
            f"{location} holds the folders of several formats. Name one of them, such as "
            f"{next((p for p in sorted(location.iterdir()) if p.is_dir()), location)}."
        )
    if own is not None:
        return None
    for name, reader in _FILES:
        if (location / name).is_file():
            return reader(location / name, location)
    for name, pattern, reader in _FOLDERS:
        if next((location / name).rglob(pattern), None) is not None:
            return reader(location, location)
    if next(location.rglob("*.gpkg"), None) is not None:
        return read_geopackages(location, location)
    raster = next(location.rglob(f"*{RASTER}"), None)
    if raster is not None and listed_in(raster):
        return read_geotiffs(location, location)
    return read_labelme(location, location) if _is_labelme(location) else None


def _is_labelme(folder: Path) -> bool:
    """Whether the first JSON file in a folder is one of LabelMe; of others nothing is expected."""
    path = next(folder.rglob("*.json"), None)
    if path is None:
        return False
    try:
        fields = read_fields(path)
    except DatasetError:
        return False
    return isinstance(fields, dict) and "shapes" in fields and "imageHeight" in fields


def _open_file(path: Path) -> FormatMasks | None:
    suffix = path.suffix.lower()
    if suffix == ".xml":
        return read_cvat(path, path.parent)
    if suffix in (".yaml", ".yml"):
        return read_yolo(path, path.parent)
    if suffix == ".json":
        return _read_json(path, path.parent)
    return None


def _one_json(folder: Path, root: Path) -> FormatMasks:
    found = sorted(folder.glob("*.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5])
        raise DatasetError(f"{folder} holds several files of masks: {names}. Name one of them.")
    return _read_json(found[0], root)


def _read_json(path: Path, root: Path) -> FormatMasks:
    fields = read_fields(path)
    if isinstance(fields, list):
        return read_label_studio(path, root)
    annotations = fields.get("annotations") if isinstance(fields, dict) else None
    if not isinstance(annotations, list):
        raise DatasetError(f"{path} holds neither annotations of COCO nor tasks of Label Studio.")
    is_panoptic = any(isinstance(item, dict) and "segments_info" in item for item in annotations)
    return (read_panoptic if is_panoptic else read_coco)(path, root)
