import sys

import numpy as np
import pytest

from recoseg.errors import BadImageError, MissingExtraError
from recoseg.video import film as module
from recoseg.video.film import FORMATS, open_film, turned

from .films import SIZE, av, picture, turn, write_film


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("films") / "clip.mp4", [picture(i) for i in range(8)])


def read(path, start=0):
    with open_film(path) as film:
        return film, list(film.frames(start))


def test_frames_and_times(clip):
    film, frames = read(clip)
    assert (film.count, film.rate, film.notes) == (8, 10.0, [])
    assert [seconds for seconds, _ in frames] == pytest.approx([i / 10 for i in range(8)])
    for number, (_, image) in enumerate(frames):
        assert (image.mode, image.size) == ("RGB", SIZE)
        assert np.abs(np.asarray(image).astype(int) - picture(number)).mean() < 8


def test_frames_before_the_start_come_without_pixels(clip):
    _, frames = read(clip, 5)
    assert [image is None for _, image in frames] == [True] * 5 + [False] * 3
    assert frames[5][0] == pytest.approx(0.5)


def test_uneven_times(tmp_path):
    times = [0, 1, 5, 6, 20]
    path = write_film(tmp_path / "a.mkv", [picture(i) for i in range(5)], times)
    film, frames = read(path)
    assert film.count is None  # Matroska does not say
    assert [seconds for seconds, _ in frames] == pytest.approx([t / 10 for t in times])


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_turned_films_are_upright(tmp_path, matrix):
    path = write_film(tmp_path / "a.mp4", [picture(0)] * 2)
    _, [(_, plain), _] = read(path)
    turn(path, matrix)
    _, [(_, image), _] = read(path)
    a, b, c, d = matrix
    given = np.asarray(plain)
    height, width = given.shape[:2]
    corners = [(a * x + c * y, b * x + d * y) for x in (0, width - 1) for y in (0, height - 1)]
    left, top = (min(values) for values in zip(*corners, strict=True))
    shown = np.asarray(image)
    for x in range(0, width, 3):
        for y in range(0, height, 3):
            assert (shown[b * x + d * y - top, a * x + c * y - left] == given[y, x]).all()


def test_quarters():
    assert turned(np.array([[1, 2, 3]]), -89).tolist() == [[1], [2], [3]]


def test_what_is_damaged_is_told(tmp_path):
    pictures = [picture(i % 8) for i in range(24)]
    path = write_film(tmp_path / "a.mp4", pictures, key_every=6)
    film, frames = read(path)
    assert (len(frames), film.notes) == (24, [])
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 700] = bytes(range(100, 170)) * 10
    path.write_bytes(data)
    film, frames = read(path)
    assert 0 < len(frames) < 24
    assert film.damaged > 0
    assert f"{film.damaged} packets could not be decoded, so frames are missing." in film.notes


def test_a_film_that_was_cut_off(tmp_path):
    path = write_film(tmp_path / "a.mkv", [picture(i % 8) for i in range(24)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    film, frames = read(path)
    assert 0 < len(frames) < 10
    assert "but the film says that it lasts 2.4 s; the rest may be missing." in film.notes[-1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no film" * 500,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://CLIP\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile CLIP\n",
    ],
)
def test_what_is_no_film_is_refused(tmp_path, clip, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content.replace(b"CLIP", str(clip).encode()))
    with pytest.raises(BadImageError, match="cannot be read as a film"):
        read(path)


def test_a_truncated_file_and_sound_alone(tmp_path, clip):
    path = tmp_path / "a.mp4"
    path.write_bytes(clip.read_bytes()[:-200])  # the table at the end is missing
    with pytest.raises(BadImageError, match="Expected a whole file"):
        read(path)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadImageError, match="holds no pictures"):
        read(path)


def test_codecs_that_are_unknown_and_colours_that_cannot_be_read(tmp_path):
    path = write_film(tmp_path / "a.avi", [picture(0)])
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"zzzz"))
    with pytest.raises(BadImageError, match="a codec that PyAV cannot decode"):
        read(path)

    class Frame:
        def to_ndarray(self, format):
            raise ValueError("Conversion to numpy array is not yet supported")

    assert module._upright(Frame()) is None


def test_frames_have_a_largest_size(clip, monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    with pytest.raises(BadImageError, match="frames of 64 x 48 pixels"):
        read(clip)
    monkeypatch.setattr(module, "check_frame", lambda *_: None)  # as if the header had lied
    film, frames = read(clip)
    assert (len(frames), film.damaged) == (0, 8)


def test_the_list_of_formats_is_of_names_that_the_library_knows():
    known = {one for name in av.formats_available for one in name.split(",")}
    assert set(FORMATS) <= known
    assert not known.isdisjoint({"hls", "concat"})


def test_the_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"recoseg\[video\]"), open_film(tmp_path / "a.mp4"):
        pass


def test_pipes_are_not_waited_for(tmp_path):
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(BadImageError, match="not a regular file"):
        read(tmp_path / "a.mp4")
