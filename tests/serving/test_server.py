"""The server as a process: slow and hostile connections, full queues, a graceful stop."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from recoseg.errors import OptionError, OutputError
from recoseg.serving.server import serve
from tests.command import run
from tests.conftest import ROOT
from tests.serving.conftest import photo
from tests.serving.slow_server import LIMITS, SECONDS

pytest.importorskip("uvicorn")

BOUNDARY = "half"
HEAD = (
    "POST /segment HTTP/1.1\r\nHost: localhost\r\n"
    f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
)
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'


def form(data):
    return PART.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.fixture(scope="module")
def process(bank, tmp_path_factory):
    file = tmp_path_factory.mktemp("process") / "bank.safetensors"
    bank.save(file)
    folders = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    command = [sys.executable, "-m", "tests.serving.slow_server", str(file)]
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@pytest.fixture(scope="module")
def port(process):
    return urlsplit(process.stdout.readline()).port


def status_of(port, *parts, wait=0.0):
    """Send parts of a request over a plain socket; the status and text of the answer, if any."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part.encode() if isinstance(part, str) else part)
            time.sleep(wait)
        answer = b""
        while b"}" not in answer and (more := connection.recv(65536)):
            answer += more
    if not answer:
        return None, ""
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def segment(port):
    """The status of a photo that is segmented over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/segment", form(photo()), kind)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def test_a_body_that_does_not_end_is_given_up(port):
    started = time.monotonic()
    status, body = status_of(port, f"{HEAD}Content-Length: 9000\r\n\r\n", PART)
    assert (status, "did not arrive within 1 seconds" in body) == (408, True)
    assert time.monotonic() - started < 5


def test_a_head_that_does_not_end_is_given_up(port):
    for beginning in ("", "GET / HTTP/1.1\r\nHost: local"):
        started = time.monotonic()
        assert status_of(port, beginning) == (None, "")
        assert 0.5 < time.monotonic() - started < 5


def test_hostile_lengths(port):
    status, body = status_of(port, f"{HEAD}Content-Length: 99999999999999\r\n\r\n")
    assert (status, "more than 20,000 bytes" in body) == (413, True)
    status, _ = status_of(port, f"{HEAD}Content-Length: -5\r\n\r\n")
    assert status == 400
    status, _ = status_of(port, f"{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\n")
    assert status == 400
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"  # no length, and more than is taken
    status, body = status_of(
        port, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n", chunk * 6, b"0\r\n\r\n"
    )
    assert (status, "more than 20,000 bytes" in body) == (413, True)


def test_clients_that_go_away(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{HEAD}Content-Length: 9000\r\n\r\n{PART}".encode())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        data = form(photo())
        connection.sendall(f"{HEAD}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    status, body = segment(port)
    assert (status, {one["name"] for one in body["classes"]}) == (200, {"rose", "grass"})


def test_more_requests_than_may_wait(port):
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: segment(port), range(6)))
    statuses = sorted(status for status, _ in found)
    assert statuses == [200] * LIMITS.waiting + [429] * (6 - LIMITS.waiting)
    refused = next(body for status, body in found if status == 429)
    assert "Ask again in a moment" in refused["error"]


def test_a_stop_finishes_what_runs_and_refuses_what_waits(process, port):
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(segment, port) for _ in range(3)]
        time.sleep(SECONDS / 2)
        process.send_signal(signal.SIGTERM)
        found = [one.result() for one in waiting]
    assert sorted(status for status, _ in found) == [200, 503, 503]
    refused = next(body for status, body in found if status == 503)
    assert "is being stopped" in refused["error"]
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "ended\n")
    assert "Traceback" not in err
    assert "a.png" not in err
    assert " POST /segment 200 " in err
    assert "/health" not in err  # nobody asked


def test_wrong_usage(bank, tmp_path):
    bank.save(tmp_path / "bank.safetensors")
    for arguments, code, message in (
        (["--writable"], 2, "--index INDEX"),
        (["--token", "short"], 2, "has 5 characters, which can be guessed"),
        (["--max-megabytes", 0], 2, "--max-megabytes"),
        (["--host", "203.0.113.1"], 1, "Cannot listen on 203.0.113.1, port 8000"),
    ):
        found = run("serve", tmp_path / "bank.safetensors", *arguments)
        assert (found.code, message in found.err) == (code, True), found.err
    found = run("serve", tmp_path / "none.safetensors", "--port", 0)
    assert (found.code, "No concept bank" in found.err) == (1, True), found.err
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OutputError, match="--port"),
    ):
        serve(bank, port=taken.getsockname()[1])


def test_a_token_is_made_for_other_machines(bank, monkeypatch):
    import uvicorn

    addresses = []

    async def startup(self, sockets=None):
        self.should_exit = True

    async def shutdown(self, sockets=None):
        pass

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    from tests.serving.conftest import make_encoders

    for host in ("0.0.0.0", "127.0.0.1"):
        serve(bank, host=host, port=0, encoders=make_encoders(), started=addresses.append)
    address, _, token = addresses[0].partition("#token=")
    assert address.startswith("http://127.0.0.1:")
    assert len(token) == 32
    assert "#" not in addresses[1]
    with pytest.raises(OptionError, match="characters, which can be guessed"):
        serve(bank, token="", encoders=make_encoders())
