"""Photos are found, and banks learnt, printed and changed, by the command line with `lite`."""

import json
import re
import shutil
from pathlib import Path

import pytest

from recoseg.concepts import ConceptBank
from tests.banks import assert_same_references
from tests.command import run


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
        assert "6 photos; this run: 6 new, 0 changed, 0 known, 1 left out" in indexed.out
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
        assert refused.code == 2
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
