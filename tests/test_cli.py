"""The command line from index to masks with `lite`, and its errors."""

import importlib.metadata
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from tests.banks import assert_same_references

from .command import Session, run

PHOTOS = {"00": "dog", "16": "Dalmatian", "06": "jeep", "07": "jeep too", "14": "bird", "11": "été"}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Photos, an index of them, and a bank of two classes."""
    pytest.importorskip("foolbox")
    root = tmp_path_factory.mktemp("cli")
    package = importlib.metadata.distribution("foolbox")
    folder = Path(str(package.locate_file("foolbox/data")))
    (root / "photos").mkdir()
    for number, name in PHOTOS.items():
        [source] = folder.glob(f"imagenet_{number}_*.jpg")
        shutil.copy(source, root / "photos" / f"{name}.jpg")
    (root / "photos" / "broken.jpg").write_bytes(b"no photo")
    (root / "classes.txt").write_text("dog\ncar: car; jeep; -bicycle\n", encoding="utf-8")
    (root / "more.txt").write_text("bird\n", encoding="utf-8")
    indexed = run("index", root / "photos", "--out", root / "index", "--precision", "fp32")
    assert indexed.code == 0, indexed.err
    learnt = run(
        *("learn", root / "index", "--classes", root / "classes.txt"),
        *("--out", root / "bank.safetensors", "--figures", root / "figures"),
        *("-k", 2, "--context", "sky,road", "--image-size", 160, "--precision", "fp32"),
    )
    assert learnt.code == 0, learnt.err
    assert "(classes: 2)" in learnt.out
    return Session(root)


def segment(session, out, *arguments):
    return run(
        *("segment", session / "bank.safetensors", session / "photos", "--out", session / out),
        *("--resize", 128, "--precision", "fp32", *arguments),
    )


def lines(folder):
    text = (folder / "segmentations.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


class TestRetrieve:
    def test_json(self, session):
        result = run("retrieve", session / "index", "dog", "car; jeep", "-k", 2, "--json")
        assert result.code == 0, result.err
        found = json.loads(result.out)
        assert list(found) == ["dog", "car"]
        names = {name: {Path(hit["path"]).stem for hit in hits} for name, hits in found.items()}
        assert names == {"dog": {"dog", "Dalmatian"}, "car": {"jeep", "jeep too"}}
        assert all(hits[0]["score"] >= hits[1]["score"] for hits in found.values())

    def test_sheet_and_text(self, session):
        sheet = session / "sheet.html"
        result = run("retrieve", session / "index", "<b>été", "-k", 3, "--out", sheet)
        assert result.code == 0
        assert str(sheet) in result.out
        page = sheet.read_text(encoding="utf-8")
        assert page.count("<img") == 3
        assert "&lt;b&gt;été" in page
        text = run("retrieve", session / "index", "dog", "-k", 1).out.splitlines()
        assert text[0] == "dog"
        assert re.fullmatch(r"  0\.\d{4}  .*\.jpg", text[1])

    def test_an_index_in_a_bucket(self, session, bucket, monkeypatch):
        monkeypatch.setenv("RECOSEG_CACHE", str(session / "cache-of-indexes"))
        bucket.put(f"{session / 'index'}/", "bucket/cli/index/", recursive=True)
        bucket.put(f"{session / 'photos'}/", "bucket/cli/photos/", recursive=True)
        common = ("dog", "car; jeep", "-k", 2, "--json")
        there = run("retrieve", "s3://bucket/cli/index", *common)
        assert there.code == 0, there.err
        assert there.out == run("retrieve", session / "index", *common).out
        indexed = run("index", "s3://bucket/cli/photos", "--out", session / "of-bucket")
        assert indexed.code == 0, indexed.err
        assert "6 photos; this run: 7 new, 0 changed, 0 known, 1 left out" in indexed.out
        out = session / "of-bucket.safetensors"
        learnt = run(
            *("learn", "s3://bucket/cli/index", "--classes", session / "classes.txt"),
            *("--out", out, "-k", 2, "--context", "sky,road", "--image-size", 160),
            *("--precision", "fp32"),
        )
        assert learnt.code == 0, learnt.err
        local, bank = ConceptBank.load(session / "bank.safetensors"), ConceptBank.load(out)
        for one, other in zip(local.concepts, bank.concepts, strict=True):
            assert_same_references(one, other)
            for a, b in zip(one.retrieved, other.retrieved, strict=True):
                assert (a.path, a.photo_id, a.seeds) == (b.path, b.photo_id, b.seeds)
                # Equal with the newest releases; with the oldest the last bits differ.
                assert a.score == pytest.approx(b.score, rel=1e-5)
                assert a.support == pytest.approx(b.support, rel=1e-5)
        refused = run("index", "s3://bucket/cli/photos", "--out", "s3://bucket/new")
        assert refused.code == 1
        assert "Cannot write to s3://bucket/new" in refused.err


class TestBank:
    def test_figures(self, session):
        names = {path.name for path in (session / "figures").glob("*.jpg")}
        assert names == {"context-sky.jpg", "context-road.jpg", "dog.jpg", "car.jpg"}

    def test_inspect(self, session):
        found = json.loads(run("inspect", session / "bank.safetensors", "--json").out)
        assert [(item["role"], item["words"]["name"]) for item in found["concepts"]] == [
            ("context", "sky"),
            ("context", "road"),
            ("class", "dog"),
            ("class", "car"),
        ]
        assert found["concepts"][3]["words"]["negatives"] == ["bicycle"]
        dogs = {Path(photo["path"]).stem for photo in found["concepts"][2]["retrieved"]}
        assert dogs == {"dog", "Dalmatian"}
        learn = found["settings"]["learn"]
        assert (learn["k"], learn["image_size"], learn["prompts"]) == (2, 160, "short5")
        encoders = found["encoders"]
        names = [info["name"] for info in (encoders["phi"], *encoders["more_phi"])]
        assert names == ["lite/block4", "lite/block5"]
        assert (found["settings"]["recipe"], learn["regions"]) == ("regions", "clusters")
        table = run("inspect", session / "bank.safetensors")
        assert table.code == 0
        assert "context" in table.out
        assert "k=2" in table.out
        assert "recipe: regions (references are means of the seeds' regions, and" in table.out
        assert "changed from the recipe: k=2, image_size=160, context=('sky', 'road')" in table.out

    def test_add_and_forget(self, session):
        more = session / "more.safetensors"
        added = run(
            *("learn", session / "index", "--classes", session / "more.txt", "--out", more),
            *("--add-to", session / "bank.safetensors", "--precision", "fp32"),
        )
        assert added.code == 0, added.err
        old, new = ConceptBank.load(session / "bank.safetensors"), ConceptBank.load(more)
        assert [item.name for item in new.classes] == ["dog", "car", "bird"]
        assert len(new.classes[2].retrieved) == 2
        for one, other in zip(old.concepts, new.concepts, strict=False):
            assert_same_references(one, other)
        fewer = session / "fewer.safetensors"
        assert run("forget", more, "dog", "car", "--out", fewer).code == 0
        assert [item.name for item in ConceptBank.load(fewer).classes] == ["bird"]
        assert "(classes: 2)" in run("forget", more, "bird").out  # in place
        assert [item.name for item in ConceptBank.load(more).classes] == ["dog", "car"]
        again = run(
            *("learn", session / "index", "--classes", session / "classes.txt", "--out", more),
            *("--add-to", session / "bank.safetensors", "--precision", "fp32", "--overwrite"),
        )
        assert again.code == 1
        assert "already holds: dog, car" in again.err

    def test_no_bank_is_replaced_without_asking(self, session):
        kept = session / "kept.safetensors"
        shutil.copy(session / "bank.safetensors", kept)
        before = kept.read_bytes()
        learn = ("learn", session / "index", "--classes", session / "more.txt", "--out", kept)
        forget = ("forget", session / "bank.safetensors", "dog", "--out", kept)
        for command in (learn, (*learn, "--add-to", session / "bank.safetensors"), forget):
            refused = run(*command)
            assert refused.code == 1
            assert f"{kept} exists already. Name another file, or replace it by" in refused.err
            assert kept.read_bytes() == before
        assert run(*learn, "--add-to", kept, "--precision", "fp32").code == 0  # added in place
        assert [one.name for one in ConceptBank.load(kept).classes] == ["dog", "car", "bird"]
        assert run(*forget, "--overwrite").code == 0
        assert [one.name for one in ConceptBank.load(kept).classes] == ["car"]
        assert run(*learn, "--overwrite", "-k", 2, "--precision", "fp32").code == 0
        assert [one.name for one in ConceptBank.load(kept).classes] == ["bird"]

    def test_cache_gives_the_same_bank_and_keeps_to_its_size(self, session):
        folder, out = session / "cache", session / "cached.safetensors"
        for size in (1, 0.001):
            learnt = run(
                *("learn", session / "index", "--classes", session / "classes.txt", "--out", out),
                *("-k", 2, "--context", "sky,road", "--image-size", 160, "--precision", "fp32"),
                *("--cache", folder, "--cache-size", size, "--overwrite"),
            )
            assert learnt.code == 0, learnt.err
            held = sum(path.stat().st_size for path in folder.rglob("*.npy"))
            assert 0 < held <= size * 1e9
            for one, other in zip(
                ConceptBank.load(session / "bank.safetensors").concepts,
                ConceptBank.load(out).concepts,
                strict=True,
            ):
                assert_same_references(one, other)
        refused = run(
            *("learn", session / "index", "--classes", session / "classes.txt", "--out", out),
            *("--cache", session / "classes.txt", "--overwrite"),
        )
        assert refused.code == 1
        assert "classes.txt" in refused.err

    @pytest.mark.timeout(120)
    def test_ray_gives_the_same_bank(self, session, cluster):
        out = session / "ray.safetensors"
        learnt = run(
            *("learn", session / "index", "--classes", session / "classes.txt", "--out", out),
            *("-k", 2, "--context", "sky,road", "--image-size", 160, "--precision", "fp32"),
            *("--executor", "ray", "--ray-workers", 1),
        )
        assert learnt.code == 0, learnt.err
        local, spread = ConceptBank.load(session / "bank.safetensors"), ConceptBank.load(out)
        assert [item.name for item in spread.concepts] == ["sky", "road", "dog", "car"]
        for one, other in zip(local.concepts, spread.concepts, strict=True):
            assert [photo.path for photo in one.retrieved] == [
                photo.path for photo in other.retrieved
            ]
            # This process may have more threads for a product.
            assert_same_references(one, other, atol=1e-3)


@pytest.fixture(scope="module")
def published(session):
    """A bank of the published recipe."""
    out = session / "published.safetensors"
    learnt = run(
        *("learn", session / "index", "--classes", session / "classes.txt", "--out", out),
        *("-k", 2, "--context", "sky,road", "--image-size", 160, "--precision", "fp32"),
        *("--recipe", "paper"),
    )
    assert learnt.code == 0, learnt.err
    return out


class TestRecipe:
    def test_the_published_one_has_one_phi_and_the_settings_of_earlier_versions(self, published):
        bank = ConceptBank.load(published)
        assert [info.name for info in bank.encoders.phi] == ["lite"]
        learn = LearnSettings(
            k=2,
            image_size=160,
            prompts="short5",
            border=2,
            weigh_seeds=True,
            guidance_scale=30.0,
            guidance_offset=0.2,
            context=("sky", "road"),
        )
        segment = SegmentSettings(Fusion("sum", text_weight=0.4), refine_temperature=0.1)
        assert bank.settings == BankSettings(learn, segment)
        fields = bank.settings.to_json()
        assert fields.keys() == {"learn", "segment"}
        assert "regions" not in {*fields["learn"], *fields["segment"]}

    def test_inspect(self, published):
        shown = run("inspect", published)
        assert shown.code == 0
        assert "recipe: paper (as published: " in shown.out
        assert "changed from the recipe: k=2, " in shown.out
        assert "regions=" not in shown.out
        found = json.loads(run("inspect", published, "--json").out)
        assert "more_phi" not in found["encoders"]

    def test_inspect_a_bank_of_a_later_version(self, session):
        bank = ConceptBank.load(session / "bank.safetensors")
        later = replace(bank, settings=replace(bank.settings, recipe="better"))
        later.save(session / "later.safetensors")
        shown = run("inspect", session / "later.safetensors")
        assert "recipe: better (not known to this version)" in shown.out
        assert "changed" not in shown.out

    def test_segment_by_another_recipe_and_other_weights(self, session, published):
        common = (session / "photos", "--resize", 128, "--precision", "fp32", "--no-overlays")

        def settings(bank, out, *arguments):
            done = run("segment", bank, *common, "--out", session / out, *arguments)
            assert done.code == 0, done.err
            return json.loads((session / out / "settings.json").read_text(encoding="utf-8"))

        plain = settings(published, "by-paper")
        assert "regions" not in plain
        assert plain["fusion"]["text_weight"] == 0.4
        regions = settings(published, "by-regions", "--recipe", "regions")
        assert regions["regions"].startswith("superpixels(")
        assert regions["fusion"]["text_weight"] == 0.8
        bank = session / "bank.safetensors"
        chosen = ("--phi-weight", 0.5, "--phi-weight", 1.5, "--text-weight", 0.6)
        weighed = settings(bank, "weighed", *chosen, "--regions", "none")
        assert "regions" not in weighed
        assert weighed["fusion"]["phi_weights"] == [0.5, 1.5]
        assert weighed["fusion"]["text_weight"] == 0.6
        assert settings(bank, "paper-settings", "--recipe", "paper")["fusion"] == plain["fusion"]

    def test_learning_without_regions(self, session):
        out = session / "seeds.safetensors"
        learnt = run(
            *("learn", session / "index", "--classes", session / "classes.txt", "--out", out),
            *("-k", 2, "--context", "none", "--image-size", 160, "--precision", "fp32"),
            *("--regions", "none"),
        )
        assert learnt.code == 0, learnt.err
        settings = ConceptBank.load(out).settings
        assert (settings.recipe, settings.learn.regions) == ("regions", "")
        assert settings.segment.regions == "superpixels"


class TestSegment:
    def test_masks_lines_and_resume(self, session):
        first = segment(session, "masks")
        assert first.code == 0, first.err
        assert "Masks of 6 photos" in first.out
        assert "Left out" in first.err
        folder = session / "masks"
        done = [line for line in lines(folder) if "error" not in line]
        assert {Path(line["path"]).stem for line in done} == set(PHOTOS.values())
        for line in done:
            with (
                Image.open(line["path"]) as photo,
                Image.open(folder / line["files"]["labels"]) as m,
            ):
                assert m.size == photo.size
                assert set(np.unique(m)) <= {0, 1}
        before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*")}
        assert len(before) == 12
        second = segment(session, "masks", "--resume")
        assert second.code == 0, second.err
        assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*")} == before
        assert [line for line in lines(folder) if "error" not in line] == done

    def test_regions_vote_and_a_memory_is_asked(self, session):
        made = run(
            *("remember", session / "index", "--out", session / "memory", "--precision", "fp32")
        )
        assert made.code == 0, made.err
        options = (
            *("--memory", session / "memory", "--regions", "superpixels:min=200"),
            *("--vote", "mode", "--region-cache", session / "kept", "--no-overlays"),
        )
        found = segment(session, "voted", *options)
        assert found.code == 0, found.err
        settings = json.loads((session / "voted" / "settings.json").read_text(encoding="utf-8"))
        assert settings["memory"]["location"] == str(session / "memory")
        assert settings["regions"].startswith("superpixels(scale=100")
        assert settings["fusion"]["memory_weight"] == 0.8
        assert len(list((session / "kept").rglob("*.png"))) == len(PHOTOS)
        refused = segment(session, "voted", *options[2:], "--resume")
        assert refused.code == 1
        assert "other settings (fusion, memory)" in refused.err
        labelled = run(
            *("pseudo-label", session / "bank.safetensors", session / "photos"),
            *(
                "--out",
                session / "pseudo-voted",
                "--resize",
                128,
                "--precision",
                "fp32",
                *options[:-1],
            ),
        )
        assert labelled.code == 0, labelled.err
        refused = segment(session, "other", "--regions", "none", "--vote", "mean")
        assert "--vote would have no effect" in refused.err

    def test_names_compete_and_classes_are_left_out(self, session):
        options = (
            *("--names", "softmax", "--names-temperature", 30, "--fusion", "text"),
            *(
                "--presence",
                0.01,
                "--area-threshold",
                0.02,
                "--ambiguity",
                0.05,
                "--threshold",
                0.2,
            ),
            *("--window", 100, "--window-step", 45, "--no-overlays"),
        )
        found = segment(session, "named", *options)
        assert found.code == 0, found.err
        settings = json.loads((session / "named" / "settings.json").read_text(encoding="utf-8"))
        assert settings["names_temperature"] == 30
        assert (settings["window"], settings["window_step"]) == (100, 45)
        chosen = [settings[name] for name in ("presence", "area_threshold", "ambiguity")]
        assert chosen == [0.01, 0.02, 0.05]
        refused = segment(session, "named", *options[2:], "--names", "cosine", "--resume")
        assert "--names-temperature would have no effect" in refused.err

    def test_resuming_with_other_settings_is_refused(self, session):
        folder = session / "settled"
        assert segment(session, "settled", "--no-overlays").code == 0
        assert not list(folder.glob("overlays/*"))
        kept = lines(folder)
        refused = segment(session, "settled", "--no-overlays", "--resume", "--threshold", 0.1)
        assert refused.code == 1
        assert "other settings (background_threshold)" in refused.err
        assert lines(folder) == kept

    def test_a_folder_holds_one_run(self, session):
        folder = session / "single"
        assert segment(session, "single").code == 0
        refused = segment(session, "single", "--threshold", 0.1)
        assert refused.code == 1
        assert "holds the masks of an earlier run" in refused.err
        assert "Traceback" not in refused.err
        both = segment(session, "single", "--resume", "--overwrite")
        assert "Expected either --resume or --overwrite" in both.err
        assert segment(session, "single", "--no-overlays", "--overwrite").code == 0
        assert not (folder / "overlays").exists()

    def test_a_killed_run_is_taken_up(self, session):
        folder = session / "killed"
        assert segment(session, "killed", "--no-overlays").code == 0
        whole = {line["path"]: line for line in lines(folder) if "error" not in line}
        kept, *lost = list(whole)
        # As a kill leaves it: the last line cut off.
        whole_lines = (folder / "segmentations.jsonl").read_text(encoding="utf-8").split("\n")
        first = next(line for line in whole_lines if json.loads(line)["path"] == kept)
        second = next(line for line in whole_lines if json.loads(line)["path"] == lost[0])
        text = f"{first}\n{second[:40]}"
        (folder / "segmentations.jsonl").write_text(text, encoding="utf-8")
        untouched = folder / whole[kept]["files"]["labels"]
        stamp = untouched.stat().st_mtime_ns
        for path in lost:
            (folder / whole[path]["files"]["labels"]).unlink()
        assert segment(session, "killed", "--no-overlays", "--resume").code == 0
        assert untouched.stat().st_mtime_ns == stamp
        assert {line["path"]: line for line in lines(folder) if "error" not in line} == whole

    def test_fusion_background_and_scores(self, session):
        result = segment(
            *(session, "text", "--fusion", "text", "--background", "context", "--scores"),
            "--no-overlays",
        )
        assert result.code == 0, result.err
        [dog] = [line for line in lines(session / "text") if line["path"].endswith("/dog.jpg")]
        with np.load(session / "text" / dog["files"]["scores"]) as scores:
            assert scores["names"].tolist() == ["dog", "car"]
            assert scores["scores"].shape == (2, dog["height"], dog["width"])
        assert dog["areas"]["dog"] > dog["areas"].get("car", 0)
        assert sum(dog["areas"].values()) + dog["background"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retrieve", "{}/gone", "dog"], "gone"),
        (["learn", "{}/gone", "--classes", "{}/classes.txt", "--out", "{}/x.safetensors"], "gone"),
        (
            ["learn", "{}/index", "--classes", "{}/gone.txt", "--out", "{}/x.safetensors"],
            "neither a file of classes nor a label space",
        ),
        (
            [
                "learn",
                "{}/index",
                "--classes",
                "{}/classes.txt",
                "--out",
                "{}/x.safetensors",
                "-k",
                "0",
            ],
            "k is 0",
        ),
        (
            [
                "learn",
                "{}/index",
                "--classes",
                "{}/classes.txt",
                "--out",
                "{}/x.safetensors",
                "--preset",
                "a",
            ],
            "Unknown preset 'a'. Valid: lite, paper, paper-light",
        ),
        (
            [
                "learn",
                "{}/index",
                "--classes",
                "{}/more.txt",
                "--out",
                "{}/x.safetensors",
                "--recipe",
                "a",
            ],
            "Unknown recipe 'a'. Valid: paper, regions",
        ),
        (
            [
                "learn",
                "{}/index",
                "--classes",
                "{}/more.txt",
                "--out",
                "{}/x.safetensors",
                "--recipe",
                "paper",
                "--add-to",
                "{}/bank.safetensors",
            ],
            "--recipe would have no effect",
        ),
        (
            [
                "segment",
                "{}/bank.safetensors",
                "{}/photos",
                "--out",
                "{}/x",
                "--recipe",
                "a",
            ],
            "Unknown recipe 'a'. Valid: paper, regions",
        ),
        (
            [
                "segment",
                "{}/bank.safetensors",
                "{}/photos",
                "--out",
                "{}/x",
                "--phi-weight",
                "1",
            ],
            "Expected a weight for each of the bank's 2 phi, in its order; got 1",
        ),
        (
            [
                "segment",
                "{}/bank.safetensors",
                "{}/photos",
                "--out",
                "{}/x",
                "--text-weight",
                "1e9",
            ],
            "text_weight is 1000000000.0; expected 1,000,000 or less",
        ),
        (
            ["index", "{}/photos", "--out", "{}/x", "--preset", "nothing"],
            "Unknown preset 'nothing'",
        ),
        (["index", "{}/photos", "--out", "{}/x", "--retrieval", "best"], "Unknown retrieval"),
        (["index", "{}/photos", "--out", "{}/x", "--device", "gpu"], "Unknown device 'gpu'"),
        (["index", "{}/photos", "--out", "{}/x", "--precision", "int4"], "Unknown precision"),
        (["index", "{}/photos", "--out", "{}/x", "--executor", "x"], "Unknown executor 'x'"),
        (["index", "{}/empty", "--out", "{}/x"], "No photos in"),
        (["index", "{}/gone", "--out", "{}/x"], "gone"),
        (["inspect", "{}/gone"], "There is no concept bank"),
        (["inspect", "{}/classes.txt"], "damaged or not a safetensors file"),
        (["forget", "{}/bank.safetensors", "cow"], "no class cow. Its classes: dog, car"),
        (
            ["forget", "{}/bank.safetensors", "dog", "car"],
            "Without dog, car the bank has no",
        ),
        (["segment", "{}/gone", "{}/photos", "--out", "{}/x"], "There is no concept bank"),
        (["segment", "{}/bank.safetensors", "{}/empty", "--out", "{}/x"], "No photos found"),
        (
            ["segment", "{}/bank.safetensors", "{}/photos", "--out", "{}/x", "--fusion", "max"],
            "Unknown fusion 'max'. Valid: product, sum, visual, text",
        ),
        (
            ["segment", "{}/bank.safetensors", "{}/photos", "--out", "{}/x", "--background", "cow"],
            "cow",
        ),
        (
            ["segment", "{}/bank.safetensors", "{}/photos", "--out", "{}/x", "--phi", "lite1"],
            "lite1",
        ),
    ],
    ids=lambda value: " ".join(value).replace("{}/", "") if isinstance(value, list) else "",
)
def test_errors_are_one_message(session, arguments, message):
    (session / "empty").mkdir(exist_ok=True)
    result = run(*(argument.replace("{}", str(session.root)) for argument in arguments))
    assert result.code == 1
    assert result.err.startswith("Error: ")
    assert message in result.err
    assert "Traceback" not in result.err + result.out
    assert not (session / "x").exists()
    assert not (session / "x.safetensors").exists()
