"""Which pixels an image file stands for: one rule for each of Pillow's modes, or a refusal that says what is wrong.

===================================  ==================================================================
mode                                 becomes red, green and blue by
===================================  ==================================================================
1, L, P, RGB, CMYK, YCbCr, LAB, …    Pillow's `convert("RGB")`: grey is repeated; CMYK without profiles
LA, PA, RGBA, a transparent colour   `AS_SHOWN`: what is transparent is laid on white; `AS_STORED`: dropped
I;16 (grey of 16 bits)               `AS_SHOWN`: the upper byte, as Pillow reads colours of 16 bits; else refused
I, F (32 bits)                       refused: no range is agreed on, and `convert` would clip it to 0–255
===================================  ==================================================================

Of several frames the first is read. Files are known by what is in them, not by their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
_NAMED_BY = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})  # in `Image.info`
_READ = frozenset({"1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "LA", "PA", "RGBA", "La", "RGBa"})
_FEWEST_LEVELS = 1 << 12  # of 65,536: what stays below is black after the lower byte is gone


class Reading(StrEnum):
    """What becomes of orientation and transparency.

    `AS_SHOWN` gives what a person sees in a browser: turned as EXIF or XMP say, transparent pixels on white, as
    img2dataset lays them (https://github.com/rom1504/img2dataset, `resizer.py`).

    `AS_STORED` gives what torchvision's `pil_loader` gives, and with it every published evaluation on ImageNet that
    uses torchvision's `ImageFolder`: pixels as they lie in the file, whatever orientation it names, without their
    alpha. Numbers stay comparable by it.
    """

    AS_SHOWN = "as shown"
    AS_STORED = "as stored"

    @property
    def version(self) -> int:
        """Part of the name under which pixels are kept: another number for every change of a rule above.

        1 is torchvision's `pil_loader`, which was the rule of all datasets once; what it clips is refused.
        """
        return {Reading.AS_STORED: 1, Reading.AS_SHOWN: 2}[self]


class Remark(StrEnum):
    """What is unusual about a file that can be read."""

    TURNED = "name an orientation (EXIF or XMP)"
    TRANSPARENT = "have an alpha channel or a transparent colour"
    DEEP = "have 16 bits per channel"
    FRAMES = "have several frames"


def refusal(opened: Image, reading: Reading) -> str | None:
    """Why an image that Pillow has opened cannot be read, as far as its header says."""
    width, height = opened.size
    if not width or not height:
        return f"has no pixels ({width}×{height})"
    deep_grey = _is_deep_grey(opened)
    if opened.mode not in _READ and not deep_grey:
        kind = {"I": "whole numbers of 32 bits", "F": "floating-point numbers"}.get(opened.mode, "an unknown kind")
        return f"mode {opened.mode}, pixels are {kind}, whose range is not known; save it with 8 or 16 bits per channel"
    if deep_grey and reading is Reading.AS_STORED:
        return f"mode {opened.mode}: 16 bits per pixel, which torchvision's loader clips to white; save it with 8 bits"
    if "transparency" in opened.info and (deep_grey or Remark.DEEP in remarks(opened)):
        return "16 bits per channel and a transparent colour; save it with an alpha channel, or with 8 bits"
    return None


def remarks(opened: Image) -> Iterator[Remark]:
    """What is unusual about an image that Pillow has opened, as far as its header says."""
    if _orientation(opened) != 1:
        yield Remark.TURNED
    if opened.has_transparency_data:
        yield Remark.TRANSPARENT
    if _is_deep_grey(opened) or any(";16" in str(tile[-1]) for tile in getattr(opened, "tile", ())):
        yield Remark.DEEP
    if opened.format != "MPO" and getattr(opened, "is_animated", False):  # MPO: a photograph and its previews
        yield Remark.FRAMES


def lies_across(opened: Image, reading: Reading) -> bool:
    """Whether height and width of a JPEG change places when it is read; of others that does not matter before."""
    return reading is Reading.AS_SHOWN and opened.format in ("JPEG", "MPO") and _orientation(opened) >= 5


def to_rgb(opened: Image, reading: Reading) -> Image:
    """Decode an image that Pillow has opened: mode RGB.

    Raises:
        ValueError: it is refused; see the table above.
        Exception: whatever Pillow's decoders raise.
    """
    if wrong := refusal(opened, reading):
        raise ValueError(wrong)
    opened.load()
    if reading is Reading.AS_STORED:
        return opened.convert("RGB")
    if _is_deep_grey(opened):
        rgb = _upper_byte(opened).convert("RGB")
    else:
        rgb = _on_white(opened) if opened.has_transparency_data else opened.convert("RGB")
    return _turned(rgb, _orientation(opened))  # asked after loading: Pillow has then turned a TIFF by itself


def _is_deep_grey(opened: Image) -> bool:
    """PNG of 16 bits had mode I in earlier versions of Pillow, and PGM still has; both fill 16 bits."""
    return opened.mode.startswith("I") and (opened.mode != "I" or opened.format in ("PNG", "PPM"))


def _orientation(opened: Image) -> int:
    """1 to 8, as EXIF counts; 1 where none is named, or what is named cannot be read."""
    if opened.format != "TIFF" and _NAMED_BY.isdisjoint(opened.info):  # PNG would be decoded to look behind its pixels
        return 1
    try:
        found = opened.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF raises anything, and the pixels are whole
        return 1
    return found if found in range(1, 9) else 1


def _turned(image: Image, orientation: int) -> Image:
    """Turned as `ImageOps.exif_transpose` does, which fails where it cannot write the EXIF data anew."""
    if orientation == 1:
        return image
    from PIL.Image import Transpose

    turns = (
        Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM, Transpose.TRANSPOSE,
        Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90,
    )  # fmt: skip
    return image.transpose(turns[orientation - 2])


def _upper_byte(image: Image) -> Image:
    from PIL import Image as Images

    values = np.asarray(image)
    largest = int(values.max())
    if 0 < largest < _FEWEST_LEVELS:
        raise ValueError(
            f"16 bits per pixel, but no value above {largest} of 65535, so that it would be black; scale its values to "
            "the whole range, or save it with 8 bits"
        )
    return Images.fromarray((values >> 8).astype(np.uint8))


def _on_white(image: Image) -> Image:
    from PIL import Image as Images

    whole = image.convert("RGBA")
    alpha = whole.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB")
    white = Images.new("RGB", whole.size, (255, 255, 255))
    white.paste(whole, mask=alpha)
    return white
