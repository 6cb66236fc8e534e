"""A real photograph, in every mode and with everything around its pixels that files may have."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_image

MODES = (
    "1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La", "I;16",
    "I;16L", "I;16B",
)  # fmt: skip


@cache
def photograph(size: int = 48) -> Image.Image:
    """A square of scikit-learn's photograph of a temple in China, by Z. Baccouche."""
    return Image.fromarray(load_sample_image("china.jpg")).crop((120, 60, 420, 360)).resize((size, size))


def in_mode(mode: str, size: int = 48) -> Image.Image:
    """The photograph in one of Pillow's modes; with alpha, it fades out from above to below."""
    rgb = photograph(size)
    grey = np.asarray(rgb.convert("L")).astype(np.uint16)
    fading = Image.linear_gradient("L").resize(rgb.size)
    match mode:
        case "I;16" | "I;16L":
            return Image.frombytes(mode, rgb.size, (grey * 257).astype("<u2").tobytes())
        case "I;16B":
            return Image.frombytes(mode, rgb.size, (grey * 257).astype(">u2").tobytes())
        case "I":
            return Image.fromarray(grey.astype(np.int32) * 257)
        case "F":
            return Image.fromarray(grey.astype(np.float32) / 255)
        case "LAB":
            srgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
            return ImageCms.profileToProfile(rgb, srgb, lab, outputMode="LAB")  # type: ignore[return-value]
        case "RGBA" | "LA" | "RGBa" | "La":
            image = rgb.convert(mode.upper())
            image.putalpha(fading)
            return image.convert(mode)
        case "PA":
            image = rgb.convert("PA")
            image.putalpha(fading)
            return image
        case _:
            return rgb.convert(mode)


def write_png_16(path: Path, values: NDArray[np.uint16], transparent: tuple[int, ...] = ()) -> None:
    """A PNG of 16 bits per channel, shape (height, width, channels), by the letter of its standard (RFC 2083)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + colour
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
