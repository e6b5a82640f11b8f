"""HEIC needs a decoder of its own; without it the reason says which, and later runs try again."""

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import BadImageError
from recoseg.photos import opening
from recoseg.photos.frame import Frame
from recoseg.photos.images import decode_image
from recoseg.photos.load import load_frame, load_whole
from recoseg.photos.refs import Photo

HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setattr(opening, "_register", Image.init)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)


def test_the_reason_names_the_extra_and_the_photo_is_tried_again(without, tmp_path):
    (tmp_path / "a.heic").write_bytes(HEAD)
    photo = Photo(str(tmp_path / "a.heic"), stamp="1-2")
    for failed in (load_whole(photo, 0), load_frame(photo, Frame(8))):
        assert "recoseg[heif]" in failed.failure
        assert failed.stamp == "", "a later run tries again"
    with pytest.raises(BadImageError, match="a film, not a photo"):
        decode_image(b"\0\0\0\x18ftypqt  " + HEAD)


def test_a_photo_in_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    opening._register()
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    exif = Image.Exif()
    heif.from_pillow(image).save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    found = np.asarray(decode_image(tmp_path / "a.heic")).astype(int)
    assert found.shape == (48, 64, 3)
    assert abs(found - np.asarray(image)).mean() < 4
