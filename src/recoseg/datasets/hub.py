"""Data sets of the Hugging Face Hub by their address."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from recoseg.classes import ClassNames, read_classes
from recoseg.datasets.huggingface import from_huggingface
from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import SPACES, label_space, space_of
from recoseg.errors import DatasetError, MissingExtraError

_OPTIONS = ("config", "revision", "image", "mask", "space", "zero")


def open_hub(address: str, split: str, classes: Path | None = None) -> SegmentationDataset:
    """Download a data set of the Hub, or take it from the cache, and open it.

    Args:
        address: `OWNER/NAME`, with options after `?` as in a URL: `image` and `mask`, the columns
            (by default image and mask); `space`, the name of a label space or a file of classes;
            `zero=ignore` if 0 is not a class and the classes count from 1; `config` and
            `revision` of the data set.
        split: The split, by the name that the data set uses.
        classes: A file of classes, instead of `space`.

    Raises:
        MissingExtraError: The package `datasets` is not installed.
        DatasetError: The data set is not available, or has no such columns.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "datasets", "A data set of the Hub") from error
    path, options = _parse(address)
    try:
        dataset = load_dataset(
            path, options.get("config"), split=split, revision=options.get("revision")
        )
    except Exception as error:  # the library raises many kinds, of the network's too
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        raise DatasetError(f"The data set {path!r}, split {split!r}: {reason}") from error
    mask_column = options.get("mask", "mask")
    return from_huggingface(
        dataset,
        _space(dataset, path, mask_column, options.get("space"), classes),
        options.get("image", "image"),
        mask_column,
        zero_is_void=options.get("zero") == "ignore",
        name=path,
        split=split,
    )


def names_of(feature: Any) -> list[str] | None:
    """The class names in the feature of a column, at any depth; None if there are none."""
    names = getattr(feature, "names", None)
    if names is not None:
        return list(names)
    inner = getattr(feature, "feature", None)
    if inner is None and isinstance(feature, list | tuple) and feature:
        inner = feature[0]
    return None if inner is None else names_of(inner)


def _space(
    dataset: Any, name: str, mask_column: str, space: str | None, classes: Path | None
) -> LabelSpace:
    """The label space that was asked for, or that the column of masks itself names."""
    if space in SPACES:
        return label_space(str(space))
    if classes is not None or space is not None:
        return space_of(name, name, read_classes(classes or Path(str(space))))
    names = names_of((dataset.features or {}).get(mask_column))
    if names is None:
        raise DatasetError(
            f"{name}: the column {mask_column!r} names no classes. Give a file of classes, or add "
            f"space=NAME with one of {', '.join(SPACES)}."
        )
    return space_of(name, name, [ClassNames(item, (item,)) for item in names])


def _parse(address: str) -> tuple[str, dict[str, str]]:
    path, _, query = address.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown or not path or options.get("zero", "ignore") != "ignore":
        raise DatasetError(
            f"Cannot read the address 'hf:{address}'. Expected hf:OWNER/NAME, then ? and any of "
            f"{', '.join(f'{item}=...' for item in _OPTIONS)}, joined by &; zero=ignore only."
        )
    return path, options
