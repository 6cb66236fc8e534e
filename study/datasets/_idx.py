"""Reader of IDX files, the format of the MNIST family (http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import math
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.errors import DataError

_UINT8 = 0x08
_GZIP = 31  # zlib's window bits for "gzip header and checksum"


def find_idx(folder: Path, name: str) -> Path | None:
    """Return `folder/name.gz` or `folder/name`, whichever exists first."""
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def idx_bytes(path: Path) -> bytes:
    """Read a file, decompressed if its name ends in `.gz`; of a truncated one, as much as there is.

    The last few files are remembered: pre-training, probes and the fingerprint want the same bytes.

    Raises:
        DataError: the file cannot be read or is not gzip.
    """
    try:
        status = path.stat()
        return _idx_bytes(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


@lru_cache(maxsize=4)
def _idx_bytes(path: Path, _mtime_ns: int, _size: int) -> bytes:
    try:
        stored = path.read_bytes()
        return zlib.decompressobj(wbits=_GZIP).decompress(stored) if path.suffix == ".gz" else stored
    except zlib.error as error:
        raise DataError(f"{path}: damaged gzip file ({error}); fetch it again") from error


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes that must have `shape`.

    Raises:
        DataError: the file is unreadable, truncated, too long, of another type or of another shape.
    """
    content = idx_bytes(path)
    header_size = 4 + 4 * len(shape)
    expected = header_size + math.prod(shape)
    if len(content) >= header_size:
        zeros, kind, num_dims = struct.unpack(">HBB", content[:4])
        if (zeros, kind, num_dims) != (0, _UINT8, len(shape)):
            wanted = f"{_UINT8 << 8 | len(shape):08x}"
            raise DataError(f"{path}: not the expected IDX file: magic {content[:4].hex()}, not {wanted}")
        found = struct.unpack(f">{num_dims}I", content[4:header_size])
        if found != shape:
            raise DataError(f"{path}: dimensions {found}, expected {shape}")
    if len(content) != expected:
        problem = "truncated" if len(content) < expected else "too long"
        counts = f"expected {expected} bytes, found {len(content)}"
        raise DataError(f"{path}: {problem}: {counts}; fetch the file again")
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)
