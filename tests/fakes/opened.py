"""Which files this process opens, as the interpreter itself reports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_listening: list[set[str]] = []


@contextmanager
def opened_files() -> Iterator[set[str]]:
    """The real paths of all files that are opened meanwhile, by any thread."""
    _install()
    paths: set[str] = set()
    _listening.append(paths)
    try:
        yield paths
    finally:
        _listening.remove(paths)


@cache
def _install() -> None:
    """Once, for an audit hook stays."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        for paths in _listening:
            paths.add(os.path.realpath(os.fsdecode(arguments[0])))
