"""Small data sets in their real folder structures."""

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 37, 53  # primes: a transposed array cannot pass


def photo(path: Path, height: int = HEIGHT, width: int = WIDTH, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), value, np.uint8)
    pixels[:, : width // 2, 0] = 200
    Image.fromarray(pixels).save(path)
    return path


def stripes(values) -> np.ndarray:
    """A mask with one vertical stripe per value, (HEIGHT, WIDTH)."""
    columns = np.array(values)[np.arange(WIDTH) * len(values) // WIDTH]
    return np.repeat(columns[None], HEIGHT, axis=0)


def mask(path: Path, values, palette: bool = False) -> np.ndarray:
    """Write stripes of the given values; palette files show other colours than their indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = stripes(values).astype(np.uint8)
    image = Image.fromarray(array)
    if palette:
        image.putpalette([(7 * i + c * 31) % 256 for i in range(256) for c in range(3)])
        assert image.mode == "P"
    image.save(path)
    return array


def lines(path: Path, names) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return path


def target(sample) -> list[int]:
    """The labels of a sample's stripes, after checks of what holds for every target."""
    labels = sample.read_target()
    image = sample.read_image()
    assert labels.dtype == np.uint8
    assert image.mode == "RGB"
    assert labels.shape == (image.height, image.width) == (HEIGHT, WIDTH)
    assert (labels == labels[:1]).all()
    row = labels[0]
    starts = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
    return row[starts].tolist()


def write_cityscapes(root: Path, values, split: str = "val") -> None:
    for city, frame in (("munster", "000001_000019"), ("frankfurt", "000000_000294")):
        stem = f"{split}/{city}/{city}_{frame}"
        photo(root / f"leftImg8bit/{stem}_leftImg8bit.png")
        mask(root / f"gtFine/{stem}_gtFine_labelIds.png", values)
        mask(root / f"gtFine/{stem}_gtFine_instanceIds.png", [1, 2])


def write_kitti_step(root: Path, values, photos: str = "training/image_02") -> None:
    for name in ("0002/000000", "0002/000001", "0018/000000"):
        photo(root / photos / f"{name}.png")
        path = root / "panoptic_maps/val" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        red = stripes(values).astype(np.uint8)
        Image.fromarray(np.stack([red, red + 3, red * 2], axis=2)).save(path)


def write_coco(root: Path, values, masks: str = "stuffthingmaps", ending: str = "") -> None:
    for name in ("000000000139", "000000000285", "000000000632"):
        photo(root / f"images/val2017/{name}.jpg")
        mask(root / f"{masks}/val2017/{name}{ending}.png", values)


def write_pascal(root: Path, values, masks: str, lists: str) -> None:
    for name in ("2007_000033", "2007_000042", "2007_000061"):
        photo(root / f"JPEGImages/{name}.jpg")
    for name in ("2007_000042", "2007_000033"):
        mask(root / masks / f"{name}.png", values, palette=True)
    lines(root / f"ImageSets/{lists}/val.txt", ["2007_000042", "2007_000033"])


def write_ade(root: Path, values) -> None:
    for name in ("ADE_val_00000001", "ADE_val_00000002"):
        photo(root / f"images/validation/{name}.jpg")
        mask(root / f"annotations/validation/{name}.png", values)


def write_folder(root: Path, values, names=("a", "b"), images="images", masks="masks") -> None:
    for name in names:
        photo(root / images / f"{name}.JPG")
        mask(root / masks / f"{name}.png", values)
    lines(root / "classes.txt", ["sky", "tree: tree; forest", "# a note", "cow"])
