"""Checkpoints: one file, replaced atomically, that begins with the sha256 of the rest."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from study.errors import CheckpointError
from study.journal.files import write_atomic


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Replace `path` by `state` (tensors, numbers, strings, containers of these)."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    payload = buffer.getvalue()
    header = hashlib.sha256(payload).hexdigest().encode() + b"\n"
    write_atomic(path, lambda file: (file.write(header), file.write(payload)))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; unpickles tensors and plain containers only.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: the checksum disagrees.
    """
    header, _, payload = path.read_bytes().partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != header:
        raise CheckpointError(f"{path} is truncated or damaged: its checksum disagrees")
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state
