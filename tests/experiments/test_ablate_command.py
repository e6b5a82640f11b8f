"""`recoseg ablate` with `lite`: tables of one run to a folder."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.command import run
from tests.segmentation.test_memory_branch import make_memory

FAST = ("--device", "cpu", "--precision", "fp32")


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


@pytest.mark.slow
def test_a_folder_holds_the_tables_of_one_run(tmp_path):
    pytest.importorskip("matplotlib")
    random = np.random.default_rng(0)
    for number in range(6):
        group = tmp_path / "photos" / ("cat", "car")[number % 2]
        data = tmp_path / "data"
        for folder in (group, data / "images", data / "masks"):
            folder.mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(random.integers(0, 256, (64, 96, 3), np.uint8))
        photo.save(group / f"{number}.png")
        photo.save(data / f"images/{number}.png")
        Image.fromarray(random.integers(0, 2, (64, 96), np.uint8)).save(
            data / f"masks/{number}.png"
        )
    (data / "classes.txt").write_text("cat\ncar\n")
    indexed = run("index", tmp_path / "photos", "--out", tmp_path / "index", *FAST)
    assert indexed.code == 0, indexed.err
    out = tmp_path / "out"
    shared = ("--index", tmp_path / "index", "--labels", "folders", "--out", out, *FAST)
    shared += ("--dataset", "folder", "--root", data, "-k", 2)
    first = run("ablate", "retrieval", "block", *shared)
    assert first.code == 0, first.err
    tables = [f"{name}.{suffix}" for name in ("block", "retrieval") for suffix in ("json", "md")]
    assert {*tables, "block.png", "photos.jsonl", "settings.json"} <= set(names(out))
    before = (out / "block.md").read_bytes()
    refused = run("ablate", "retrieval", *shared)
    assert refused.code == 1
    assert "holds the tables of an earlier run" in refused.err
    resumed = run("ablate", "retrieval", "block", *shared, "--resume")
    assert resumed.code == 0, resumed.err
    assert (out / "block.md").read_bytes() == before
    other = run("ablate", "block", *shared, "--resume")
    assert "made with other settings (studies)" in other.err
    (out / "notes.txt").write_text("mine")
    replaced = run("ablate", "retrieval", *shared, "--overwrite")
    assert replaced.code == 0, replaced.err
    assert [name for name in names(out) if name.startswith("block")] == []
    assert {"retrieval.md", "notes.txt"} <= set(names(out))
    fewer = run("ablate", "block", *shared, "--overwrite", "--exclude", "0", "--exclude", "5")
    assert fewer.code == 0, fewer.err
    rows = json.loads((out / "settings.json").read_text())["rows"]
    assert {row["photos"] for row in rows} == {4}
    wrong = run("ablate", "recipe", *shared, "--overwrite", "--regions", "tiles")
    assert "Unknown regions 'tiles'" in wrong.err
    wrong = run("ablate", "recipe", *shared, "--overwrite", "--memory", tmp_path / "gone")
    assert wrong.code == 1
    assert "gone" in wrong.err
    make_memory(tmp_path / "memory")
    wrong = run("ablate", "recipe", *shared, "--overwrite", "--memory", tmp_path / "memory")
    assert "expected values of lite" in wrong.err
    (out / "notes.txt").unlink()
    grown = run(
        *("ablate", "recipe", *shared, "--overwrite", "--regions", "slic:9", "--vote", "mode"),
        *("--phi", "lite", "--phi", "timm:deit_tiny_patch16_224=random"),
    )
    assert grown.code == 0, grown.err
    table = (out / "recipe.md").read_text()
    assert "| + all phi in one bank" in table
    assert "| + vote of regions" in table
    assert "- Left out: + memory. It needs a region memory (--memory)." in table
    settings = json.loads((out / "settings.json").read_text())
    votes = [row["segment"].get("vote") for row in settings["rows"]]
    assert votes == [*5 * [None], *4 * ["mode"]]


def test_options_of_the_recipe_alone(tmp_path):
    given = ("--index", tmp_path, "--out", tmp_path / "out", "--dataset", "voc20")
    result = run("ablate", "block", *given, "--memory", "memory", "--vote", "mode")
    assert result.code == 2
    assert "--memory, --vote would have no effect without the study recipe" in result.err
    assert not (tmp_path / "out").exists()
