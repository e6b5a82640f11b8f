"""Folders of masks by the command line: options, and runs that are taken up."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command import run

from .conftest import PHOTOS


def segment(session, out, *arguments):
    return run(
        *("segment", session / "bank.safetensors", session / "photos", "--out", session / out),
        *("--resize", 128, "--precision", "fp32", *arguments),
    )


def lines(folder):
    text = (folder / "segmentations.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


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
        assert "other settings (fusion.memory_weight, memory)" in refused.err
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
            *("--no-overlays", "--report"),
        )
        assert result.code == 0, result.err
        page = session / "text/report/index.html"
        assert f"Report: {page}" in result.out
        assert 'data-photos="6"' in page.read_text(encoding="utf-8")
        [dog] = [line for line in lines(session / "text") if line["path"].endswith("/dog.jpg")]
        with np.load(session / "text" / dog["files"]["scores"]) as scores:
            assert scores["names"].tolist() == ["dog", "car"]
            assert scores["scores"].shape == (2, dog["height"], dog["width"])
        assert dog["areas"]["dog"] > dog["areas"].get("car", 0)
        assert sum(dog["areas"].values()) + dog["background"] == pytest.approx(1, abs=1e-4)
