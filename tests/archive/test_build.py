"""Building an index: usable photos get rows, others a reason, and a second run has no work."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError, EncoderMismatchError, OutputError
from recoseg.photos.frame import Frame
from recoseg.photos.images import decode_image, to_frame
from recoseg.storage.locks import lock_folder
from tests.archive.conftest import make_folder, make_photo
from tests.archive.fake_encoder import FakeEncoder
from tests.building import build_index
from tests.photos.test_images import encoded, huge_png
from tests.photos.test_sources import make_tar


def contents(root):
    """Embedding by file name."""
    index = ArchiveIndex.open(root)
    rows = np.concatenate([np.array(block) for _, block in index.blocks()])
    return {index.path(i).rsplit("/", 1)[-1]: rows[i].tobytes() for i in range(len(index))}


def run(sources, out, encoder, **options):
    options = {"precision": "fp32", "shard_size": 5, "batch_size": 3, "workers": 2} | options
    return build_index([str(source) for source in sources], out, encoder, **options)


def test_rows_are_the_encoders_embeddings(photos, tmp_path, encoder):
    report = run([photos], tmp_path / "index", encoder, preset="paper")
    assert (report.photos, report.new, report.skipped, report.failed) == (23, 23, 0, 0)
    index = ArchiveIndex.open(tmp_path / "index")
    assert (len(index), index.dim, index.preset) == (23, 13, "paper")
    assert index.info == encoder.info
    assert index.manifest.frame == Frame(8)
    assert index.manifest.photos == 23
    listed = sorted(photos.rglob("*.png"), key=lambda path: len(path.name))
    assert {index.path(i) for i in range(23)} == {str(path) for path in listed}
    for position in range(23):
        image = decode_image(photos / index.path(position))
        want = encoder.embed_images(to_frame(image, encoder.frame)[None])[0]
        got = index.embeddings([position])[0]
        assert (got - want).abs().max() < 1e-3
        assert index.read(position).tobytes() == image.tobytes()
        photo = index.photo(position)
        assert (photo.width, photo.height) == (20, 16)
        assert photo.size == os.path.getsize(photo.path)  # noqa: PTH202


def test_layout_is_that_of_clip_retrieval(photos, tmp_path, encoder):
    run([photos], tmp_path / "index", encoder)
    array = np.load(tmp_path / "index/img_emb/img_emb_0.npy")
    assert array.dtype == np.float16
    assert array.shape == (5, 13)
    table = pq.read_table(tmp_path / "index/metadata/metadata_0.parquet")
    assert table.num_rows == 5
    assert "image_path" in table.column_names
    assert not list((tmp_path / "index").rglob("*tmp*"))


def test_photo_ids_identify_the_content(tmp_path, encoder):
    make_folder(tmp_path / "photos", 2)
    shutil.copy(tmp_path / "photos/photo0.png", tmp_path / "photos/copy.png")
    run([tmp_path / "photos"], tmp_path / "index", encoder)
    index = ArchiveIndex.open(tmp_path / "index")
    ids = {index.path(i).rsplit("/", 1)[-1]: index.photo_id(i) for i in range(3)}
    assert ids["copy.png"] == ids["photo0.png"] != ids["photo1.png"]
    assert len(ids["copy.png"]) == 32


def test_second_run_has_no_work_and_new_photos_are_appended(photos, tmp_path, encoder):
    run([photos], tmp_path / "index", encoder)
    before = contents(tmp_path / "index")
    again = FakeEncoder()
    report = run([photos], tmp_path / "index", again)
    assert again.embedded == 0
    assert (report.new, report.changed, report.skipped) == (0, 0, 23)
    make_folder(photos, 4, first=100)
    report = run([photos], tmp_path / "index", again)
    assert again.embedded == 4
    assert (report.photos, report.new, report.skipped) == (27, 4, 23)
    after = contents(tmp_path / "index")
    assert {name: after[name] for name in before} == before
    make_folder(tmp_path / "more", 3, first=200)
    assert run([tmp_path / "more"], tmp_path / "index", again).photos == 30


def test_changed_photos_are_embedded_again(photos, tmp_path, encoder):
    run([photos], tmp_path / "index", encoder)
    before = contents(tmp_path / "index")
    make_photo(999).save(photos / "photo4.png")
    (photos / "photo6.png").write_bytes(b"now broken")
    counting = FakeEncoder()
    report = run([photos], tmp_path / "index", counting)
    assert counting.embedded == 1
    assert (report.changed, report.failed, report.photos, report.unusable) == (1, 1, 22, 1)
    after = contents(tmp_path / "index")
    assert after.keys() == before.keys() - {"photo6.png"}
    assert {name for name in after if after[name] != before[name]} == {"photo4.png"}
    index = ArchiveIndex.open(tmp_path / "index")
    for position in range(len(index)):
        image = to_frame(decode_image(photos / index.path(position)), encoder.frame)
        gap = encoder.embed_images(image[None])[0] - index.embeddings([position])[0]
        assert gap.abs().max() < 1e-3
    make_photo(6).save(photos / "photo6.png")  # repaired
    report = run([photos], tmp_path / "index", counting)
    assert (report.changed, report.failed, report.photos, report.unusable) == (1, 0, 23, 0)
    assert contents(tmp_path / "index")["photo6.png"] == before["photo6.png"]
    assert ArchiveIndex.open(tmp_path / "index").failures() == []
    files = {path.stem.rsplit("_", 1)[-1] for path in (tmp_path / "index/img_emb").iterdir()}
    assert files == {path.stem.rsplit("_", 1)[-1] for path in (tmp_path / "index/shards").iterdir()}


def test_missing_photos_are_reported_and_pruned_on_request(photos, tmp_path, encoder):
    run([photos], tmp_path / "index", encoder)
    (photos / "photo0.png").unlink()
    report = run([photos], tmp_path / "index", encoder)
    assert report.missing == (str(photos / "photo0.png"),)
    assert (report.removed, report.photos) == (0, 23)
    make_folder(tmp_path / "other", 1)
    assert run([tmp_path / "other"], tmp_path / "index", encoder).missing == ()
    report = run([photos], tmp_path / "index", encoder, prune=True)
    assert (report.removed, report.photos) == (1, 23)
    assert run([photos], tmp_path / "index", encoder).missing == ()


def test_tar_shards_equal_the_folder(photos, tmp_path, encoder):
    files = sorted(photos.rglob("*.png"))
    make_tar(tmp_path / "0.tar", {path.name: path.read_bytes() for path in files[:12]})
    make_tar(tmp_path / "1.tar", {path.name: path.read_bytes() for path in files[12:]})
    run([photos], tmp_path / "from_folder", encoder)
    report = run([f"{tmp_path}/*.tar"], tmp_path / "from_tar", encoder)
    assert report.new == 23
    tar = {name.split("::")[-1]: row for name, row in contents(tmp_path / "from_tar").items()}
    assert tar == contents(tmp_path / "from_folder")
    index = ArchiveIndex.open(tmp_path / "from_tar")
    name = index.path(7).split("::")[-1]
    original = next(path for path in files if path.name == name)
    assert index.read(7).tobytes() == decode_image(original).tobytes()
    assert run([f"{tmp_path}/*.tar"], tmp_path / "from_tar", encoder).skipped == 23
    make_tar(tmp_path / "1.tar", {path.name: path.read_bytes() for path in files[14:]})
    report = run([f"{tmp_path}/*.tar"], tmp_path / "from_tar", encoder)
    assert (report.changed, len(report.missing)) == (9, 2)


def nasty_folder(folder):
    folder.mkdir()
    corner = Image.new("RGB", (40, 24), "blue")
    corner.paste("red", (0, 0, 20, 12))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = corner.transpose(Image.Transpose.ROTATE_90)
    (folder / "turned.jpg").write_bytes(encoded(turned, "JPEG", exif=exif, quality=95))
    (folder / "cmyk.jpg").write_bytes(encoded(corner.convert("CMYK"), "JPEG", quality=95))
    ramp = np.linspace(0, 65535, 40).astype(np.uint16)[None].repeat(24, 0)
    (folder / "sixteen.png").write_bytes(encoded(Image.fromarray(ramp), "PNG"))
    palette = corner.quantize(2)
    red = palette.getpixel((0, 0))
    (folder / "palette.png").write_bytes(encoded(palette, "PNG", transparency=red))
    blue = Image.new("RGB", (40, 24), "blue")
    gif = encoded(corner, "GIF", save_all=True, append_images=[blue])
    (folder / "animated.gif").write_bytes(gif)
    (folder / "ünïcödé 猫 🐈.png").write_bytes(encoded(corner, "PNG"))
    big = encoded(make_photo(1, 200, 160), "JPEG")
    (folder / "truncated.jpg").write_bytes(big[: len(big) // 2])
    (folder / "huge.png").write_bytes(huge_png())
    (folder / "text.jpg").write_text("I am no photo.")
    (folder / "empty.png").write_bytes(b"")
    return folder


def test_folder_with_damaged_and_unusual_files(tmp_path, encoder):
    folder = nasty_folder(tmp_path / "nasty")
    report = run([folder], tmp_path / "index", encoder)
    reasons = {item.path.rsplit("/", 1)[-1]: item.failure for item in report.failures}
    assert reasons.keys() == {"truncated.jpg", "huge.png", "text.jpg", "empty.png"}
    assert "truncated" in reasons["truncated.jpg"]
    assert "30000 x 20000" in reasons["huge.png"] or "pixels" in reasons["huge.png"]
    assert "not an image" in reasons["text.jpg"]
    assert "empty" in reasons["empty.png"]
    index = ArchiveIndex.open(tmp_path / "index")
    assert {item.path for item in index.failures()} == {str(folder / name) for name in reasons}
    found = {index.path(i).rsplit("/", 1)[-1]: index.read(i) for i in range(len(index))}
    assert found.keys() == {
        "turned.jpg",
        "cmyk.jpg",
        "sixteen.png",
        "palette.png",
        "animated.gif",
        "ünïcödé 猫 🐈.png",
    }
    for name, image in found.items():
        assert image.size == (40, 24), name
        near, far = np.array(image.getpixel((5, 4)), int), np.array(image.getpixel((35, 20)), int)
        if name == "sixteen.png":
            assert abs(near[0] - 33) < 4
            assert abs(far[0] - 229) < 4
        else:
            first = (255, 255, 255) if name == "palette.png" else (255, 0, 0)
            assert np.abs(near - first).max() < 12, name
            assert np.abs(far - (0, 0, 255)).max() < 12, name
    again = run([folder], tmp_path / "index", encoder)
    assert (again.new, again.changed, again.failed, again.skipped) == (0, 0, 4, 6)


def test_missing_list_entries_fail_and_recover(tmp_path, encoder):
    make_photo(1).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    report = run([tmp_path / "list.txt"], tmp_path / "index", encoder)
    assert [item.failure for item in report.failures] == ["cannot be read: no such file"]
    again = run([tmp_path / "list.txt"], tmp_path / "index", encoder)
    assert (again.new, again.skipped, again.failed) == (0, 1, 1)
    make_photo(2).save(tmp_path / "b.png")
    assert run([tmp_path / "list.txt"], tmp_path / "index", encoder).photos == 2


def test_embeddings_that_are_not_finite_become_failures(tmp_path):
    folder = make_folder(tmp_path / "photos", 5)
    Image.new("RGB", (9, 9), (77, 77, 77)).save(folder / "poison.png")
    encoder = FakeEncoder()
    encoder.poison = 77
    report = run([folder], tmp_path / "index", encoder)
    assert [item.failure for item in report.failures] == ["the encoder gives no finite embedding"]
    assert all(
        np.isfinite(block).all() for _, block in ArchiveIndex.open(tmp_path / "index").blocks()
    )


def test_only_bad_photos_make_an_empty_index(tmp_path, encoder):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"")
    assert run([tmp_path / "photos"], tmp_path / "index", encoder).unusable == 1
    index = ArchiveIndex.open(tmp_path / "index")
    assert (len(index), list(index.blocks()), len(index.failures())) == (0, [], 1)
    with pytest.raises(IndexError, match="position 0"):
        index.path(0)


@pytest.mark.parametrize(
    ("options", "encoder", "message"),
    [
        ({}, FakeEncoder(fingerprint="f" * 16), "was made with fake"),
        ({}, FakeEncoder(size=9), "Frame"),
        ({"precision": "bf16"}, FakeEncoder(), "in fp32, not in bf16"),
    ],
)
def test_other_settings_are_refused(photos, tmp_path, options, encoder, message):
    run([photos], tmp_path / "index", FakeEncoder())
    with pytest.raises(EncoderMismatchError, match=message):
        run([photos], tmp_path / "index", encoder, **options)


def test_other_refusals(photos, tmp_path, encoder):
    (tmp_path / "file").write_text("")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ArchiveError, match="No photos in"):
        run([tmp_path / "bare"], tmp_path / "index", encoder)
    with pytest.raises(ArchiveError, match="local folder"):
        run([photos], "s3://bucket/index", encoder)
    with pytest.raises(ArchiveError, match="is a file"):
        run([photos], tmp_path / "file", encoder)
    (tmp_path / "index").mkdir()
    with lock_folder(tmp_path / "index"), ThreadPoolExecutor(1) as pool:
        other = pool.submit(run, [photos], tmp_path / "index", encoder)
        with pytest.raises(OutputError, match="Another process is writing"):
            other.result()
    assert run([photos], tmp_path / "index", encoder).photos == 23


def test_each_run_counts_unusable_photos_as_left_out(tmp_path, encoder):
    """So that the counts of a run add up, and the same photos have the same words each time."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        make_photo(number).save(photos / f"{number}.png")
    (photos / "broken.png").write_bytes(b"no photo")
    first = run([photos], tmp_path / "index", encoder)
    assert (first.new, first.changed, first.skipped, first.failed) == (3, 0, 0, 1)
    again = run([photos], tmp_path / "index", encoder)
    assert (again.new, again.changed, again.skipped, again.failed) == (0, 0, 3, 1)
    assert again.failures == ()  # it was not tried again
    make_photo(3).save(photos / "broken.png")
    (photos / "0.png").write_bytes(b"no photo any more")
    make_photo(9).save(photos / "more.png")
    mended = run([photos], tmp_path / "index", encoder)
    assert (mended.new, mended.changed, mended.skipped, mended.failed) == (1, 1, 2, 1)
