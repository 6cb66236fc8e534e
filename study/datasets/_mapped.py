"""Files of bytes as tensors, mapped into memory: what is not looked at is not read."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from study.errors import DataError


def mapped_bytes(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Map a file of unsigned bytes, uint8, of `shape`; the file cannot be written through it.

    A private mapping that could be written, like `torch.from_file`'s, would count as memory in use: a machine refuses
    one that is larger than its memory.

    Raises:
        DataError: the file cannot be read or has another size.
    """
    expected = math.prod(shape)
    try:
        found = path.stat().st_size
        if found != expected:
            problem = "truncated" if found < expected else "too long"
            raise DataError(f"{path}: {problem}: expected {expected} bytes, found {found}; fetch the file again")
        array = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
