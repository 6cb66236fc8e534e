"""Files by path and address, over a real server on this machine."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from study.errors import DataError
from study.fetching import Source

_CONTENT = b"weights" * 1000
_SHA256 = hashlib.sha256(_CONTENT).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """`/whole.pth` is a file, `/half.pth` breaks off, everything else is missing; counts requests."""

    requests: list[str] = []  # noqa: RUF012 - per server class

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path not in ("/whole.pth", "/half.pth"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(_CONTENT)))
        self.end_headers()
        self.wfile.write(_CONTENT if self.path == "/whole.pth" else _CONTENT[:100])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Handler.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a b.pth"
    file.write_bytes(_CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    for location in (str(file), file.as_uri(), "~/a b.pth"):
        assert Source(location).file(tmp_path / "none") == (file, _SHA256)
        assert Source(location).name == "a b.pth"
    assert Source.parse(f"{file}#sha256={_SHA256}").file(tmp_path) == (file, _SHA256)


def test_downloads_once(tmp_path: Path, server: str) -> None:
    source = Source.parse(f"{server}/whole.pth#sha256={_SHA256}")
    file, digest = source.file(tmp_path / "downloads")
    assert file.read_bytes() == _CONTENT and digest == _SHA256 and source.name == "whole.pth"
    assert source.file(tmp_path / "downloads") == (file, _SHA256)
    assert _Handler.requests == ["/whole.pth"]


def test_equal_names_at_different_addresses_do_not_mix(tmp_path: Path, server: str) -> None:
    first = Source(f"{server}/whole.pth", _SHA256).file(tmp_path)[0]
    second = Source(f"{server.replace('127.0.0.1', 'localhost')}/whole.pth", _SHA256)
    assert second.file(tmp_path)[0] != first


@pytest.mark.parametrize(
    ("path", "message"), [("half.pth", "ended after 100 of 7000 bytes"), ("none.pth", "HTTP Error 404")]
)
def test_a_failed_download_leaves_nothing_and_says_what_helps(
    tmp_path: Path, server: str, path: str, message: str
) -> None:
    with pytest.raises(DataError, match=rf"cannot download {server}/{path}: .*{message}(.|\n)*give the path"):
        Source(f"{server}/{path}", _SHA256).file(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_internet(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{taken.getsockname()[1]}/swav.pth.tar"
        with pytest.raises(DataError, match=r"cannot download https://127(.|\n)*One of these helps:(.|\n)*put it at"):
            Source(address).file(tmp_path)


def test_a_wrong_hash_shows_both(tmp_path: Path, server: str) -> None:
    with pytest.raises(DataError) as caught:
        Source(f"{server}/whole.pth", "0" * 64).file(tmp_path)
    assert "0" * 64 in str(caught.value) and _SHA256 in str(caught.value) and "delete" in str(caught.value)


@pytest.mark.parametrize(
    ("location", "digest", "message"),
    [
        ("http://example.org/x", None, "over http:// anyone can change a file"),
        ("ftp://example.org/x", None, "expected a path, file:// or https://, but got ftp://"),
        ("x.pth", "abc", "a sha256 has 64 hex digits in lower case, but got 'abc'"),
        ("x.pth#sha256=" + "1" * 64, "2" * 64, "two hashes are given"),
    ],
)
def test_refused(location: str, digest: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Source.parse(location, digest)
