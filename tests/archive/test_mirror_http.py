"""An index on a web server: crafted listings write nothing, and changes are seen."""

import functools
import html
import http.server
import os
import shutil
import threading
from typing import ClassVar

import numpy as np
import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError
from tests.archive.conftest import make_photo
from tests.archive.test_build import run
from tests.archive.test_index import foreign, unit
from tests.archive.test_mirror import files_below, whole


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder. Its pages can hold further links, headers are left out, files are cut."""

    links = ()
    dates = True
    cut = ()
    asked: ClassVar[list[str]] = []

    def log_message(self, *args):
        pass

    def end_headers(self):
        if not self.dates:
            self._headers_buffer = [
                line for line in self._headers_buffer if not line.startswith(b"Last-Modified")
            ]
        super().end_headers()

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.endswith(tuple(self.cut) or "\0"):
            path = self.translate_path(self.path)
            with open(path, "rb") as file:  # noqa: PTH123
                data = file.read()
            self.send_response(200)  # without a length: the end of the connection ends the file
            super().end_headers()
            self.wfile.write(data[: len(data) // 2])
            return
        super().do_GET()

    def list_directory(self, path):
        body = "".join(
            f'<a href="{html.escape(link)}">x</a>'
            for link in [*sorted(os.listdir(path)), *self.links]  # noqa: PTH208
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body.encode())))
        super().end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A web server of `tmp_path/web`: its handler and its address."""
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "web").mkdir()
    kind = type("Served", (Handler,), {"asked": []})
    handler = functools.partial(kind, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kind, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("own", [True, False])
def test_an_index_on_a_web_server(photos, tmp_path, encoder, web, own):
    if own:
        run([photos], tmp_path / "web/index", encoder)
    else:
        foreign(tmp_path / "web/index", [3, 1, 5])
    handler, address = web
    handler.links = ("../", "/", "?C=N;O=D", "http://elsewhere.invalid/img_emb/x.npy", "sub/")
    here, there = ArchiveIndex.open(tmp_path / "web/index"), ArchiveIndex.open(f"{address}/index")
    assert np.array_equal(whole(there), whole(here))
    assert [there.path(at) for at in range(len(there))] == [
        here.path(at) for at in range(len(here))
    ]
    assert ArchiveIndex.open(f"{address}/index").root == there.root


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "link",
    [
        "img_emb/%2e%2e/%2e%2e/%2e%2e/evil.npy",
        "img_emb/%252e%252e/%252e%252e/evil.npy",
        "%2Fetc/evil.npy",
        "..%5C..%5Cevil.npy",
        "./C:%5Cevil.npy",
        "img_emb%00.npy",
    ],
)
def test_crafted_links_are_refused_before_anything_is_fetched(
    photos, tmp_path, encoder, web, link, own
):
    if own:
        run([photos], tmp_path / "web/index", encoder)
    else:
        foreign(tmp_path / "web/index", [3])
    handler, address = web
    handler.links = (link,)
    before = files_below(tmp_path)
    with pytest.raises(ArchiveError, match="is refused, and nothing was fetched"):
        ArchiveIndex.open(f"{address}/index")
    assert files_below(tmp_path) == before
    assert all(path.endswith("/") for path in handler.asked)


@pytest.mark.parametrize("own", [True, False])
def test_links_that_lead_elsewhere_are_not_followed(photos, tmp_path, encoder, web, own):
    if own:
        run([photos], tmp_path / "web/index", encoder)
    else:
        foreign(tmp_path / "web/index", [3])
    (tmp_path / "web/evil.npy").write_bytes(b"evil")
    handler, address = web
    handler.links = (
        "../../evil.npy",
        "img_emb/../../evil.npy",
        "/evil.npy",
        "//[/x",
        "file:///etc",
    )
    assert len(ArchiveIndex.open(f"{address}/index")) in (3, 23)
    assert not any("evil" in path for path in handler.asked)
    assert not any("evil" in name for name in files_below(tmp_path / "cache"))


@pytest.mark.parametrize("dates", [True, False])
def test_an_index_that_has_changed_is_read_anew(photos, tmp_path, encoder, web, dates):
    handler, address = web
    handler.dates = dates
    run([photos], tmp_path / "web/index", encoder)
    before = ArchiveIndex.open(f"{address}/index")
    whole(before)
    make_photo(999).save(photos / "photo4.png")
    run([photos], tmp_path / "web/index", encoder)
    after = ArchiveIndex.open(f"{address}/index")
    assert np.array_equal(whole(after), whole(ArchiveIndex.open(tmp_path / "web/index")))
    assert not np.array_equal(whole(after), whole(before))


@pytest.mark.parametrize("dates", [True, False])
def test_a_folder_of_another_program_that_has_changed_is_read_anew(tmp_path, web, dates):
    handler, address = web
    handler.dates = dates
    root = foreign(tmp_path / "web/index", [3, 5])
    before = ArchiveIndex.open(f"{address}/index")
    np.save(root / "img_emb/img_emb_1.npy", unit(5, seed=77))
    os.utime(root / "img_emb/img_emb_1.npy", (10**9, 10**9))
    after = ArchiveIndex.open(f"{address}/index")
    assert np.array_equal(whole(after)[3:], unit(5, seed=77))
    assert np.array_equal(whole(before)[3:], unit(5, seed=1))


@pytest.mark.parametrize("name", ["metadata_0.parquet", "img_emb_0.npy", "shard_0.json"])
def test_a_half_sent_file_is_not_kept(photos, tmp_path, encoder, web, name):
    handler, address = web
    run([photos], tmp_path / "web/index", encoder)
    handler.cut = (name,)
    with pytest.raises(ArchiveError, match=f"{name}"):
        whole(ArchiveIndex.open(f"{address}/index"))
    handler.cut = ()
    there = ArchiveIndex.open(f"{address}/index")
    assert np.array_equal(whole(there), whole(ArchiveIndex.open(tmp_path / "web/index")))


def test_an_index_of_an_early_version_is_read(photos, tmp_path, encoder, web):
    run([photos], tmp_path / "web/index", encoder)
    from tests.archive.test_verify import without_checksums

    without_checksums(tmp_path / "web/index")
    _, address = web
    there = ArchiveIndex.open(f"{address}/index")
    assert np.array_equal(whole(there), whole(ArchiveIndex.open(tmp_path / "web/index")))
    assert ArchiveIndex.open(f"{address}/index").root == there.root


def test_a_server_that_never_ends_a_page_or_a_file(tmp_path, web, monkeypatch):
    from recoseg.archive import remote

    handler, address = web
    foreign(tmp_path / "web/index", [3])
    monkeypatch.setattr(remote, "MAX_PAGE", 1000)
    handler.links = ("x" * 2000,)
    with pytest.raises(ArchiveError, match="has more than 1,000 bytes"):
        ArchiveIndex.open(f"{address}/index")
    shutil.rmtree(tmp_path / "web/index")
    with pytest.raises(ArchiveError, match="No index was found at"):
        ArchiveIndex.open(f"{address}/index")
