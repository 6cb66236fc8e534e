"""Files are looked at before anything starts: all that are broken are named at once, and what is unusual is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.datasets import _survey
from study.datasets._decoding import decode_square
from study.datasets._folders import class_folders, list_classes
from study.datasets._modes import Reading
from study.datasets._survey import Survey, survey
from study.datasets.base import Split
from study.datasets.image_folder import ImageFolder
from study.errors import DataError
from tests.fakes.photographs import in_mode, photograph

_DATASET = ImageFolder(num_ssl_images=50, num_validation_images=20, num_classes=2, image_size=8)
_BOTH = pytest.mark.parametrize(
    "dataset", [_DATASET, replace(_DATASET, crops_from="originals")], ids=["squares", "originals"]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of forty photographs for training, five for testing."""
    root = tmp_path / "pets"
    for part, count in (("train", 40), ("val", 5)):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                photograph(16 + i % 3).save(root / part / name / f"{i:02d}.jpg")
    return root


def looked_at(folder: Path, reading: Reading = Reading.AS_SHOWN, patience_s: float | None = None) -> Survey:
    part = folder / "train"
    return survey(list_classes(part, class_folders(part)), reading, folder / "cache", patience_s)


def message_of(dataset: ImageFolder, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        dataset.check(folder)
    return str(caught.value)


@pytest.mark.filterwarnings("ignore")  # of what is cut off
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.gif", "a.ppm"])
def test_what_is_cut_off_is_found_exactly_when_it_cannot_be_decoded(name: str, tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    photograph(96).save(path := tmp_path / "train" / "cat" / name)
    whole, verdicts = path.read_bytes(), set()
    for kept in (*(len(whole) - n for n in (0, 1, 2, 4, 8, 12, 20, 100)), *(len(whole) * n // 10 for n in range(10))):
        path.write_bytes(whole[:kept])
        try:
            decode_square(path, np.empty((3, 96, 96), np.uint8), 1.0, Reading.AS_SHOWN)
            can_be_decoded = True
        except Exception:  # noqa: BLE001 - decoders raise anything
            can_be_decoded = False
        assert bool(looked_at(tmp_path).problems) != can_be_decoded, f"{kept} of {len(whole)} bytes"
        verdicts.add(can_be_decoded)
    assert verdicts == {True, False}


@_BOTH
def test_all_broken_files_are_named_at_once(dataset: ImageFolder, folder: Path) -> None:
    """Whether or not a sample would meet them."""
    broken = [folder / "train" / "dog" / f"{i:02d}.jpg" for i in range(40)]
    for path in broken:
        path.write_bytes(path.read_bytes()[:200])
    message = message_of(replace(dataset, num_ssl_images=60), folder)
    assert "40 images cannot be decoded; fetch them again, or take them out of the dataset:" in message
    assert all(f"  - {path}: " in message for path in broken[:20]) and str(broken[20]) not in message
    listed = folder / ".study-cache" / "unreadable.txt"
    assert message.endswith(f"… and 20 more; all of them are listed in {listed}")
    assert [line.partition(": ")[0] for line in listed.read_text().splitlines()] == [str(path) for path in broken]


@_BOTH
def test_damage_in_the_middle_is_named_beside_what_the_headers_show(dataset: ImageFolder, folder: Path) -> None:
    """Originals are decoded in part, so that it is found there when it is met."""
    photograph(64).save(path := folder / "train" / "cat" / "00.png")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    dataset = replace(dataset, num_ssl_images=61)
    assert f"{path}: " in message_of(dataset, folder) or dataset.crops_from == "originals"
    (folder / "train" / "dog" / "00.jpg").write_text("no image")
    message = message_of(dataset, folder)
    assert "dog/00.jpg: no image that can be read" in message and message.count("cannot be decoded") == 1
    assert (f"{path}: " in message) == (dataset.crops_from == "squares")


@_BOTH
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("<html>404</html>"), "no image that can be read"),
        (lambda path: path.symlink_to("nowhere.jpg"), "No such file or directory"),
        (os.mkfifo, "no regular file"),
        (lambda path: in_mode("F").save(path, "TIFF"), "mode F, pixels are floating-point numbers, whose range is not"),
        (lambda path: in_mode("I").save(path, "TIFF"), "mode I, pixels are whole numbers of 32 bits, whose range is"),
        (
            lambda path: Image.new("1", (20_000, 20_000)).save(path, "PNG"),
            "Image size (400000000 pixels) exceeds limit of 178956970 pixels",
        ),
    ],
    ids=["empty", "html", "dangling link", "pipe", "floats", "integers", "bomb"],
)
def test_files_that_are_something_else(
    make: Callable[[Path], object], why: str, dataset: ImageFolder, folder: Path
) -> None:
    path = folder / "train" / "cat" / "07.jpg"
    path.unlink()
    make(path)
    message = message_of(replace(dataset, num_ssl_images=60), folder)
    assert f"{path}: {why}" in message and "1 image cannot be decoded" in message
    assert "damaged" not in message
    with pytest.raises(DataError) as glanced:
        replace(dataset, num_ssl_images=60).glance(folder, 60.0)
    assert str(glanced.value) == message


def test_broken_files_that_are_not_used_are_a_warning(folder: Path) -> None:
    """A study that does not need them is not held up by them; once one that is used is broken, all are named."""
    unused = {*_DATASET.training_files(folder).names} - {
        name for split in (Split.TRAIN, Split.VALIDATION) for name in _DATASET.files(folder, split).names
    }
    (folder / "train" / min(unused)).write_text("no image")
    notes = _DATASET.check(folder)
    assert [
        note for note in notes if "1 file that no split uses cannot be decoded, e.g. " in note and min(unused) in note
    ]
    used = _DATASET.files(folder, Split.TRAIN).paths()[0]
    used.write_text("no image")
    message = message_of(_DATASET, folder)
    assert "2 images cannot be decoded" in message and str(used) in message and min(unused) in message


@_BOTH
def test_what_is_unusual_is_said(dataset: ImageFolder, folder: Path) -> None:
    assert dataset.check(folder) == []
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph().save(folder / "train" / "cat" / "turned.jpg", exif=exif)
    in_mode("RGBA").save(folder / "train" / "cat" / "clear.png")
    in_mode("I;16").save(folder / "train" / "dog" / "deep.png")
    photograph().save(folder / "train" / "dog" / "moving.gif", save_all=True, append_images=[photograph().rotate(90)])
    notes = "\n".join(dataset.check(folder))
    for count, words, name in (
        (1, "name an orientation (EXIF or XMP); they are turned by it", "cat/turned.jpg"),
        (1, "have an alpha channel or a transparent colour; it is laid on white", "cat/clear.png"),
        (1, "have 16 bits per channel; the upper 8 are used", "dog/deep.png"),
        (1, "have several frames; the first is used", "dog/moving.gif"),
    ):
        assert f"{folder / 'train'}: {count} of 84 images {words}, e.g. ['{name}']" in notes
    (folder / "train" / "dog" / "deep.png").unlink()  # this one would be refused as stored
    as_stored = looked_at(folder, Reading.AS_STORED)
    said = list(_survey.in_words(folder, as_stored, Reading.AS_STORED))
    assert any("they are read as stored, as torchvision's loader and published evaluations have it" in s for s in said)
    assert any("it is dropped, as torchvision's" in s for s in said)


def test_many_files_are_looked_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_survey, "_FEWEST_REMEMBERED", 1)
    in_mode("RGBA").save(folder / "train" / "cat" / "clear.png")
    first = looked_at(folder)
    assert first.num_files == 81 and list(first.remarks)
    look = _survey._look
    monkeypatch.setattr(_survey, "_look", lambda *arguments: pytest.fail("looked at again"))
    assert looked_at(folder) == first
    monkeypatch.setattr(_survey, "_look", look)
    (folder / "train" / "cat" / "00.jpg").write_text("no image")
    assert list(looked_at(folder).problems) == ["cat/00.jpg"]
    assert looked_at(folder, Reading.AS_STORED).problems, "the other rule has a memory of its own"


def test_a_glance_takes_no_longer_than_it_may_and_writes_nothing(folder: Path) -> None:
    (folder / "train" / "cat" / "00.jpg").write_text("no image")
    before = {*folder.rglob("*")}
    dataset = replace(_DATASET, num_ssl_images=60)
    with pytest.raises(DataError, match=r"cat/00\.jpg: no image"):
        dataset.glance(folder, 60.0)
    (note,) = dataset.glance(folder, -1.0)
    assert note == f"{folder / 'train'}: 0 of 80 files looked at; a start looks at all"
    assert {*folder.rglob("*")} == before


def test_a_cache_that_cannot_be_written_holds_no_message_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file"))
    for path in (folder / "train" / "cat").iterdir():
        path.write_text("no image")
    message = message_of(replace(_DATASET, crops_from="originals"), folder)
    assert "cannot be decoded" in message and message.endswith("more")


def test_broken_test_images_are_all_named_when_they_are_read(folder: Path) -> None:
    for i in (1, 3):
        (folder / "val" / "dog" / f"{i:02d}.jpg").write_text("no image")
    for crops_from in ("squares", "originals"):
        dataset = replace(_DATASET, crops_from=crops_from)
        dataset.check(folder)
        with pytest.raises(DataError, match=r"2 images cannot be decoded(.|\n)*dog/01\.jpg(.|\n)*dog/03\.jpg"):
            dataset.labelled(folder, Split.TEST)
