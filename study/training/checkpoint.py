"""Checkpoints: one file, replaced atomically, that begins with the sha256 of the rest.

Reading holds nothing in memory but the tensors: with a head of 150 million weights, a copy of the file is a gigabyte.
Writing makes one, so that a full disk is an OSError of ours and not a library's.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from study.errors import CheckpointError
from study.journal.files import write_atomic

_HEADER = 65  # bytes: 64 hex digits and a line feed


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Replace `path` by `state` (tensors, numbers, strings, containers of these)."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    header = hashlib.sha256(buffer.getbuffer()).hexdigest().encode() + b"\n"
    write_atomic(path, lambda file: (file.write(header), file.write(buffer.getbuffer())))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; unpickles tensors and plain containers only.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: the checksum disagrees.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
        if hashlib.file_digest(file, "sha256").hexdigest().encode() + b"\n" != header:
            raise CheckpointError(f"{path} is truncated or damaged: its checksum disagrees")
        state: dict[str, Any] = torch.load(cast(IO[bytes], _Rest(file)), map_location="cpu", weights_only=True)
    return state


class _Rest(io.RawIOBase):
    """The file behind its header, as if it began there."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(_HEADER)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset + _HEADER if whence == io.SEEK_SET else offset, whence) - _HEADER

    def tell(self) -> int:
        return self._file.tell() - _HEADER
