"""Reading and writing the files of a run: atomic, durable, one writer per file."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from study.errors import JournalError

_BUFFER = 1 << 16
_decode = json.JSONDecoder().decode  # json.loads would first guess the encoding


def write_atomic(path: Path, write: Callable[[BinaryIO], object], *, durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, sync it and rename it: readers see all of it or nothing.

    What is not `durable`, because it can be made again, is not synced, and may be empty after a power cut.
    """
    with _draft(path, write, durable=durable) as draft:
        draft.replace(path)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, atomically."""
    write_atomic(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace `path` by `data` as indented JSON, atomically."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=True) + "\n")


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        JournalError: the file is not a JSON object.
    """
    content = read_bytes(path)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return _object(content, path)


def _object(content: bytes, path: Path | str) -> dict[str, Any]:
    try:
        data = _decode(content.decode())
    except ValueError as error:
        raise JournalError(f"{path} is damaged ({error}); move it away and start the study again") from error
    if not isinstance(data, dict):
        raise JournalError(f"{path} is damaged (not a JSON object); move it away and start the study again")
    return data


def read_json_or_none(path: Path | str) -> dict[str, Any] | None:
    """Read a JSON object, or None when the file is missing."""
    content = read_bytes(path)
    return None if content is None else _object(content, path)


def read_bytes(path: Path | str) -> bytes | None:
    """Contents of a small file, None when it is missing; without `open`'s objects, which cost more than the reading."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        parts = [os.read(handle, _BUFFER)]
        while len(parts[-1]) == _BUFFER or (len(parts) > 1 and parts[-1]):
            parts.append(os.read(handle, _BUFFER))
    finally:
        os.close(handle)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_there(path: str) -> bool:
    """Whether a file or folder exists."""
    try:
        os.stat(path)  # noqa: PTH116 (asked of thousands)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def names_in(folder: Path | str) -> list[str]:
    """Names in a folder, sorted; none when there is no such folder."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (a Path per name would cost more than the listing)
    except (FileNotFoundError, NotADirectoryError):
        return []


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
def _draft(path: Path, write: Callable[[BinaryIO], object], *, durable: bool = True) -> Iterator[Path]:
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
            if durable:
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
        if error.filename is None and error.errno is not None:  # else it is no answer of the system
            error.filename = str(path)
        raise
