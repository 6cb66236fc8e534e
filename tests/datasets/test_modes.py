"""Every mode and format that Pillow can write, on a real photograph, against formulas; both ways of decoding agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision.datasets.folder import pil_loader

from study.datasets._decoding import decode_crops, decode_square
from study.datasets._folders import READ_SUFFIXES
from study.datasets._modes import Reading, Remark, refusal, remarks, to_rgb
from study.tensors.crops import Crop
from tests.fakes.photographs import MODES, in_mode, photograph, write_png_16

Pixels = NDArray[np.uint8]
_SUFFIXES = (".jpg", ".png", ".webp", ".bmp", ".tif", ".gif", ".ppm", ".pgm")
_WHOLE = Crop(area=1.0, ratio=1.0, across=0.0, down=0.0, is_flipped=False, size=(48, 48))


def decoded(path: Path, reading: Reading) -> Pixels:
    """The file by both ways of decoding, which must agree; shape (height, width, 3)."""
    with Image.open(path) as opened:
        rgb = np.asarray(to_rgb(opened, reading))
    if rgb.shape == (48, 48, 3):
        square, crop = (np.empty((3, 48, 48), np.uint8) for _ in range(2))
        decode_square(path, square, 1.0, reading)
        decode_crops(path, (_WHOLE,), (crop,), reading)
        for view in (square, crop):
            np.testing.assert_array_equal(view.transpose(1, 2, 0), rgb)
    return rgb


def refused(path: Path, reading: Reading = Reading.AS_SHOWN) -> str:
    """Why neither way of decoding reads it, which is what the header says already."""
    with Image.open(path) as opened:
        said = refusal(opened, reading)
    messages = []
    for decode in (
        lambda: decode_square(path, np.empty((3, 8, 8), np.uint8), 1.0, reading),
        lambda: decode_crops(path, (_WHOLE,), (np.empty((3, 48, 48), np.uint8),), reading),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is looked at
            decode()
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and said in (None, messages[0])
    return messages[0]


def on_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    share = alpha.astype(float)[..., None] / 255
    return np.rint(share * rgb + 255 * (1 - share)).astype(np.uint8)


def repeated(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=-1)


def from_cmyk(image: Image.Image) -> Pixels:
    inks = np.asarray(image).astype(float)
    return np.rint((255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255).astype(np.uint8)


def from_ycbcr(image: Image.Image) -> Pixels:
    """ITU-T T.871, clause 7."""
    y, cb, cr = np.moveaxis(np.asarray(image).astype(float), -1, 0)
    rgb = np.stack([y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)])
    return np.rint(rgb.clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)


def from_palette(image: Image.Image) -> Pixels:
    palette = np.frombuffer(image.palette.tobytes(), np.uint8).reshape(-1, 3)  # type: ignore[union-attr]
    return palette[np.asarray(image if image.mode == "P" else image.getchannel("P"))]


# What the pixels are, from those of the opened file: (as shown, as stored); None: refused.
_FORMULAS: dict[str, tuple[Callable[[Image.Image], Pixels] | None, Callable[[Image.Image], Pixels] | None]] = {
    "1": (lambda i: repeated(np.asarray(i) * np.uint8(255)),) * 2,
    "L": (lambda i: repeated(np.asarray(i)),) * 2,
    "P": (from_palette,) * 2,
    "RGB": (np.asarray,) * 2,
    "CMYK": (from_cmyk,) * 2,
    "YCbCr": (from_ycbcr,) * 2,
    "LAB": (lambda i: np.asarray(photograph()),) * 2,
    "LA": (
        lambda i: on_white(repeated(np.asarray(i)[..., 0]), np.asarray(i)[..., 1]),
        lambda i: repeated(np.asarray(i)[..., 0]),
    ),
    "RGBA": (lambda i: on_white(np.asarray(i)[..., :3], np.asarray(i)[..., 3]), lambda i: np.asarray(i)[..., :3]),
    "PA": (lambda i: on_white(from_palette(i), np.asarray(i.getchannel("A"))), from_palette),
    "I;16": (lambda i: repeated((np.asarray(i) >> 8).astype(np.uint8)), None),
    "I;16B": (lambda i: repeated((np.asarray(i) >> 8).astype(np.uint8)), None),
    "I": (None, None),
    "F": (None, None),
}
_TOLERANCE = {"YCbCr": 1, "LAB": 12}  # levels: of tables with whole numbers; of the way to L*a*b* and back


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_every_mode_that_can_be_written(suffix: str, tmp_path: Path) -> None:
    assert suffix in READ_SUFFIXES
    seen = set()
    for mode in MODES:
        path = tmp_path / f"{mode.replace(';', '')}{suffix}"
        try:
            in_mode(mode).save(path)
        except (OSError, KeyError, ValueError):
            continue  # this format has no such mode
        with Image.open(path) as opened:
            opened.load()
            own, kind = opened.mode, opened.format
            formulas = _FORMULAS["I;16" if own == "I" and kind == "PPM" else own]
            expected = [formula and formula(opened) for formula in formulas]
        seen.add(own)
        for reading, pixels in zip((Reading.AS_SHOWN, Reading.AS_STORED), expected, strict=True):
            if pixels is None:
                assert own in refused(path, reading) or kind == "PPM"
                continue
            found = decoded(path, reading)
            difference = np.abs(found.astype(int) - pixels.astype(int))
            assert difference.max() <= _TOLERANCE.get(own, 0), (mode, own, reading)
            assert difference.mean() < 1
            if reading is Reading.AS_STORED:
                np.testing.assert_array_equal(found, np.asarray(pil_loader(str(path))))
    assert seen


def test_the_table_is_whole() -> None:
    """Each mode that some format writes has been looked at."""
    assert {"1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "LA", "PA", "I", "F", "I;16"} <= _FORMULAS.keys()


def test_deep_grey_is_not_clipped_as_torchvision_does(tmp_path: Path) -> None:
    """https://github.com/pytorch/vision/issues/2218: every pixel is white."""
    in_mode("I;16").save(path := tmp_path / "a.png")
    assert np.asarray(pil_loader(str(path))).min() == 255
    grey = np.asarray(photograph().convert("L"))
    np.testing.assert_array_equal(decoded(path, Reading.AS_SHOWN), repeated(grey))
    assert "16 bits per pixel, which torchvision's loader clips to white" in refused(path, Reading.AS_STORED)


@pytest.mark.parametrize("largest", [255, 1023, 4095])
def test_few_bits_in_sixteen_would_be_black(largest: int, tmp_path: Path) -> None:
    grey = np.asarray(photograph().convert("L")).astype(np.uint32)
    write_png_16(path := tmp_path / "a.png", (grey * largest // grey.max()).astype(np.uint16)[..., None])
    assert f"no value above {largest} of 65535, so that it would be black" in refused(path)
    write_png_16(path, np.zeros((48, 48, 1), np.uint16))
    assert decoded(path, Reading.AS_SHOWN).max() == 0, "what is black is black"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_keep_their_upper_byte_in_grey_and_in_colours(channels: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (48, 48, channels), dtype=np.uint16)
    write_png_16(path := tmp_path / "a.png", values)
    upper = (values >> 8).astype(np.uint8)
    colours = upper[..., :3] if channels > 2 else repeated(upper[..., 0])
    expected = on_white(colours, upper[..., -1]) if channels in (2, 4) else colours
    np.testing.assert_array_equal(decoded(path, Reading.AS_SHOWN), expected)
    with Image.open(path) as opened:
        assert Remark.DEEP in remarks(opened)


def test_a_transparent_colour_in_sixteen_bits_is_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(4096, 65536, (48, 48, 3), dtype=np.uint16)
    write_png_16(path := tmp_path / "a.png", values, transparent=tuple(int(v) for v in values[0, 0]))
    assert "16 bits per channel and a transparent colour" in refused(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_becomes_white(mode: str, tmp_path: Path) -> None:
    image = photograph().quantize(16) if mode == "P" else photograph().convert(mode)
    colour = image.getpixel((5, 7))
    image.save(path := tmp_path / "a.png", transparency=colour)
    plain = np.asarray(image.convert("RGB"))
    is_clear = np.asarray(image) == colour
    is_clear = is_clear.all(axis=-1) if is_clear.ndim == 3 else is_clear
    assert is_clear.any() and not is_clear.all()
    np.testing.assert_array_equal(
        decoded(path, Reading.AS_SHOWN), np.where(is_clear[..., None], 255, plain).astype(np.uint8)
    )
    np.testing.assert_array_equal(decoded(path, Reading.AS_STORED), plain)


def test_half_transparent_palettes(tmp_path: Path) -> None:
    image = photograph().quantize(16)
    image.save(path := tmp_path / "a.png", transparency=bytes(range(0, 256, 16)))
    alpha = np.asarray(image) * np.uint8(16)
    np.testing.assert_array_equal(decoded(path, Reading.AS_SHOWN), on_white(from_palette(image), alpha))


def test_what_is_opaque_is_as_it_always_was(tmp_path: Path) -> None:
    for mode, suffix in (("RGBA", "png"), ("LA", "png"), ("RGBA", "webp"), ("RGBA", "tif")):
        photograph().convert(mode).save(path := tmp_path / f"a.{suffix}")
        theirs = np.asarray(pil_loader(str(path)))
        for reading in Reading:
            np.testing.assert_array_equal(decoded(path, reading), theirs)


_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation(suffix: str, tmp_path: Path) -> None:
    """https://github.com/pytorch/vision/issues/7977; Pillow turns TIFF by itself, which torchvision's loader keeps."""
    upright = photograph().crop((0, 0, 48, 32))
    for number, turn in _TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = number
        upright.save(path := tmp_path / f"{number}{suffix}", exif=exif, **({} if suffix == ".tif" else {"quality": 95}))
        with Image.open(path) as opened:
            assert (Remark.TURNED in remarks(opened)) == (number != 1)
            viewed = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        as_shown, as_stored = (decoded(path, reading) for reading in Reading)
        stored = np.asarray(pil_loader(str(path)))
        np.testing.assert_array_equal(as_shown, viewed)
        np.testing.assert_array_equal(as_stored, stored)
        if suffix != ".tif":
            np.testing.assert_array_equal(as_shown, turn(stored))


def test_orientation_that_only_xmp_names(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    photograph().save(path := tmp_path / "a.jpg", xmp=xmp)
    np.testing.assert_array_equal(decoded(path, Reading.AS_SHOWN), np.rot90(np.asarray(pil_loader(str(path))), 2))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_damaged_image(tmp_path: Path) -> None:
    """ImageNet has such files."""
    photograph().save(path := tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    for reading in Reading:
        np.testing.assert_array_equal(decoded(path, reading), np.asarray(pil_loader(str(path))))


def test_crops_of_large_turned_jpegs_are_those_of_the_turned_image(tmp_path: Path) -> None:
    """They are decoded at a fraction of their size, whose sides change places."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(900).crop((0, 0, 900, 500)).save(path := tmp_path / "a.jpg", exif=exif, quality=95)
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    crop = Crop(area=0.4, ratio=0.8, across=0.7, down=0.2, is_flipped=False, size=(48, 48))
    decode_crops(path, (crop,), (view := np.empty((3, 48, 48), np.uint8),), Reading.AS_SHOWN)
    top, left, height, width = crop.box(*upright.size)
    expected = upright.crop((left, top, left + width, top + height)).resize((48, 48), Image.Resampling.BILINEAR)
    assert np.abs(view.transpose(1, 2, 0).astype(int) - np.asarray(expected)).mean() < 4


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".png", ".webp"])
def test_the_first_of_several_frames(suffix: str, tmp_path: Path) -> None:
    frames = [photograph(), ImageOps.invert(photograph())]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(path := tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **lossless)
    with Image.open(path) as opened:
        assert Remark.FRAMES in remarks(opened)
    difference = np.abs(decoded(path, Reading.AS_SHOWN).astype(int) - np.asarray(frames[0]))
    assert difference.mean() < (5 if suffix == ".gif" else 1e-9)


def test_a_photograph_with_previews_is_one_photograph(tmp_path: Path) -> None:
    photograph().save(path := tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[photograph(16)])
    with Image.open(path) as opened:
        assert opened.format == "MPO" and not list(remarks(opened))
    assert decoded(path, Reading.AS_SHOWN).shape == (48, 48, 3)
