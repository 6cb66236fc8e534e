"""Reading and writing the files of a run: atomic, durable, one writer per file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from study.errors import JournalError


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it and rename it: readers see all of it or nothing."""
    with _draft(path, write) as draft:
        draft.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`, atomically."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace `path` by `data` as indented JSON, atomically."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        JournalError: the file is not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise JournalError(f"{path} is damaged ({error}); move it away and start the study again") from error
    if not isinstance(data, dict):
        raise JournalError(f"{path} is damaged (not a JSON object); move it away and start the study again")
    return data


def read_json_or_none(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, or None when the file is missing."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None


def create_once(path: Path, data: Mapping[str, Any]) -> bool:
    """Create `path` with `data` unless it exists; say whether this call created it.

    A hard link decides who was first: unlike O_EXCL it is atomic on NFS too, and the file is complete from the start.
    """
    with _draft(path, lambda file: file.write(json.dumps(data).encode())) as draft:
        return link_once(draft, path)


def link_once(source: Path, target: Path) -> bool:
    """Hard-link `source` to `target` unless `target` exists; say whether `target` is now `source`."""
    try:
        os.link(source, target)
    except FileExistsError:
        return target.samefile(source)  # NFS says "exists" when it repeats a request whose answer was lost
    return True


@contextmanager
def _draft(path: Path, write: Callable[[BinaryIO], object]) -> Iterator[Path]:
    """A file beside `path`, filled by `write` and synced; gone afterwards, whatever happens."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        error.filename = str(path)  # nobody knows the draft
        raise
    draft = Path(name)
    try:
        with named(path), os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)  # mkstemp's 0600 would hide the file from colleagues
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let errors of writing and reading name the file: a full disk is reported by a call that knows no name."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
