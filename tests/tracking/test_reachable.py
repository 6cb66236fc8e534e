"""Whether the MLflow store answers, asked of real servers and closed ports."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from study.tracking.reachable import trouble, without_password


class _Server(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path.startswith("/health") else 500)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface
        pass


@pytest.fixture
def server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("status", [200, 401, 404, 503])
def test_whatever_a_server_says_is_an_answer(server: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Server, "status", status)
    assert trouble(server) is None


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "mysql+pymysql"])
def test_a_closed_port_is_trouble(scheme: str, closed_port: int) -> None:
    reason = trouble(f"{scheme}://user:secret@127.0.0.1:{closed_port}/mlflow")
    assert reason is not None and "refused" in reason and "secret" not in reason


def test_a_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.tracking.reachable._PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        start = time.monotonic()
        assert "timed out" in str(trouble(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        assert time.monotonic() - start < 30


def test_files_and_what_cannot_be_asked(tmp_path: Path) -> None:
    assert (
        trouble(f"sqlite:///{tmp_path / 'mlflow.db'}") is trouble(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}") is None
    )
    (tmp_path / "file").touch()
    assert trouble(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}") == f"{tmp_path / 'file'} is no folder"
    assert trouble("databricks") is trouble("file:///somewhere") is None
    assert trouble("http://127.0.0.1:many") is not None


def test_passwords_are_not_shown() -> None:
    assert without_password("https://ann:secret@host:5000/a") == "https://host:5000/a"
    assert without_password("https://host/a@b") == "https://host/a@b"
