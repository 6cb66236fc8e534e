"""Files of bytes as tensors, mapped into memory: what is not looked at is not read."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from study.errors import DataError, raise_any


def wrong_size(path: Path, expected: int, *, at_least: bool = False) -> Iterator[str]:
    """Say when a file has not so many bytes, or fewer; it is not opened."""
    try:
        found = path.stat().st_size
    except OSError as error:
        yield f"{path}: cannot be read ({error})"
        return
    if found < expected or (found > expected and not at_least):
        problem = "truncated" if found < expected else "too long"
        wanted = f"at least {expected}" if at_least else f"{expected}"
        yield f"{path}: {problem}: expected {wanted} bytes, found {found}; fetch the file again"


def mapped_bytes(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Map a file of unsigned bytes, uint8, of `shape`; the file cannot be written through it.

    A private mapping that could be written, like `torch.from_file`'s, would count as memory in use: a machine refuses
    one that is larger than its memory.

    Raises:
        DataError: the file cannot be read or has another size.
    """
    expected = math.prod(shape)
    raise_any([*wrong_size(path, expected)])
    try:
        array = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
