"""Does the MLflow store answer? Asked before a start, without MLflow, which takes seconds to import."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from study.tracking.store import without_password

_PATIENCE_S = 3.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def trouble(uri: str) -> str | None:
    """Why a store does not answer; None when it does, or when it is of a kind that cannot be asked like this."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    try:
        if scheme in ("http", "https"):
            return _of_server(uri)
        if scheme in _PORTS:
            return _of_port(uri, _PORTS[scheme])
    except (ValueError, HTTPException) as error:  # no address at all
        return str(error)
    if scheme == "sqlite":
        file = Path(urlsplit(uri).path.removeprefix("/"))
        if file.parent.exists() and not file.parent.is_dir():
            return f"{file.parent} is no folder"
    return None


def _of_server(uri: str) -> str | None:
    """Whatever a server says, even that it knows us not, is an answer; so is a certificate that we do not know."""
    try:
        with urlopen(Request(f"{without_password(uri).rstrip('/')}/health"), timeout=_PATIENCE_S):
            return None
    except HTTPError:
        return None
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        return None if isinstance(reason, ssl.SSLError) else str(reason)


def _of_port(uri: str, usual: int) -> str | None:
    parts = urlsplit(uri)
    try:
        with socket.create_connection((parts.hostname or "localhost", parts.port or usual), timeout=_PATIENCE_S):
            return None
    except OSError as error:
        return error.strerror or str(error)
