"""Precision and recall of `recoseg curate` where it is known what photos show.

python benchmarks/curation.py people curated archive_sources.csv --chosen-on 3072
python benchmarks/curation.py plant PHOTOS planted --every 45
python benchmarks/curation.py copies curated_with_copies planted

`people` takes a table with the columns id and original_path, whose folders tell what a photo shows.
`plant` writes four copies of some photos, which are then indexed together with the others.
"""

import argparse
import csv
import json
from pathlib import Path

from PIL import Image, ImageOps

PEOPLE = ("clothing-co-parsing", "/Faces/", "/person/")
KNOWN = ("101_ObjectCategories", "PACS", "clothing-co-parsing")
UNKNOWN = ("BACKGROUND_Google",)


def findings(folder, check):
    """The lines of a check about photos that are left out, also by an earlier check."""
    lines = map(json.loads, (Path(folder) / "findings.jsonl").open(encoding="utf-8"))
    return [one for one in lines if one["check"] == check and one["outcome"].startswith("left")]


def shares(right, found, there):
    """Precision and recall, per cent."""
    return {"precision": 100 * right / max(found, 1), "recall": 100 * right / max(there, 1)}


def people(arguments):
    """Of photos of which folders tell whether they show people."""
    truth = {}
    with Path(arguments.sources).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            path = f"{row['source_repo']}/{row['original_path']}"
            if any(name in path for name in KNOWN) and not any(name in path for name in UNKNOWN):
                truth[row["id"]] = any(name in path for name in PEOPLE)
    found = {Path(one["path"]).stem for one in findings(arguments.curated, "people")}
    first = arguments.chosen_on
    for title, part in {
        "all": truth,
        f"first {first:,}": {name: is_one for name, is_one in truth.items() if int(name) < first},
        "others": {name: is_one for name, is_one in truth.items() if int(name) >= first},
    }.items():
        named = [name for name in part if name in found]
        right = sum(part[name] for name in named)
        counts = {"people": sum(part.values()), "others": len(part) - sum(part.values())}
        print(title, counts, shares(right, len(named), counts["people"]))


def plant(arguments):
    """Write four copies of every n-th photo: compressed, smaller, cropped, mirrored."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    photos = sorted(Path(arguments.photos).glob("*.jpg"))[:: arguments.every]
    for path in photos:
        with Image.open(path) as file:
            photo = file.convert("RGB")
        width, height = photo.size
        box = (width * 0.05, height * 0.05, width * 0.95, height * 0.95)
        photo.save(out / f"{path.stem}_recompressed.jpg", quality=40)
        photo.resize((width // 2, height // 2)).save(out / f"{path.stem}_resized.jpg", quality=85)
        photo.crop(tuple(map(round, box))).save(out / f"{path.stem}_cropped.jpg", quality=95)
        ImageOps.mirror(photo).save(out / f"{path.stem}_flipped.jpg", quality=95)
    print(f"{len(photos):,} photos, {4 * len(photos):,} copies")


def copies(arguments):
    """A photo that is left out is right if it is a copy of the one that stays in its place."""
    planted = len(list(Path(arguments.planted).glob("*.jpg")))
    right, wrong = 0, []
    for one in findings(arguments.curated, "duplicates"):
        own, other = (Path(one[field]).stem.partition("_")[0] for field in ("path", "like"))
        right += own == other
        if own != other:
            wrong.append((one["path"], one["like"], one["score"]))
    print(f"{right + len(wrong):,} left out", shares(right, right + len(wrong), planted))
    for line in wrong:
        print(*line)


def main():
    """Read the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("people")
    one.add_argument("curated")
    one.add_argument("sources")
    one.add_argument("--chosen-on", type=int, default=3072)
    one.set_defaults(run=people)
    one = commands.add_parser("plant")
    one.add_argument("photos")
    one.add_argument("out")
    one.add_argument("--every", type=int, default=45)
    one.set_defaults(run=plant)
    one = commands.add_parser("copies")
    one.add_argument("curated")
    one.add_argument("planted")
    one.set_defaults(run=copies)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
