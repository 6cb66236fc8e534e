"""What a file system refuses is said with the file, the mount point, what is free there, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from study.journal.files import create_once, write_json
from study.journal.trouble import OF_A_DISK, describe_trouble, mount_point
from tests.fakes.mounts import fill, mounted, remount


def said_of(number: int, file: Path | None = None) -> str:
    error = OSError(number, os.strerror(number), None if file is None else str(file))
    text = describe_trouble(error, Path("/proc"))
    assert text is not None
    return text


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (errno.ENOSPC, ("cannot write /proc/x: the file system mounted at /proc is full (", " free). Make room there")),
        (
            errno.EDQUOT,
            ("your quota on the file system mounted at /proc is used up (", " free). Remove something there"),
        ),
        (errno.EROFS, ("the file system mounted at /proc is read-only. Make it writable",)),
        (errno.ESTALE, ("the file system mounted at /proc has lost it (stale file handle). Mount it anew",)),
        (errno.EIO, ("the file system mounted at /proc does not work (Input/output error). Have it mended",)),
        (errno.EACCES, ("cannot use /proc/x: Permission denied. Make it readable and writable for you",)),
    ],
)
def test_every_refusal_in_words(number: int, parts: tuple[str, ...]) -> None:
    text = said_of(number, Path("/proc/x"))
    assert all(part in text for part in parts), text
    assert "mounted at /proc" in said_of(number) or number == errno.EACCES, "a file of the home where none is named"


def test_what_is_no_fault_of_a_file_system_is_left_to_others() -> None:
    assert describe_trouble(FileNotFoundError(errno.ENOENT, "no such file", "x"), Path()) is None
    assert not {errno.ENOENT, errno.EACCES, errno.EEXIST} & set(OF_A_DISK), "these say something about the run"


def test_the_mount_point_of_what_does_not_exist(tmp_path: Path) -> None:
    assert mount_point(tmp_path / "no" / "such" / "file") == mount_point(tmp_path)
    assert mount_point(Path("/proc/self/no")) == Path("/proc") and mount_point(Path("/")) == Path("/")


def test_a_real_disk_that_is_full_and_one_that_is_read_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=1m") as is_mounted:
        if not is_mounted:
            pytest.skip("only root may mount file systems")
        fill(disk)
        for write in (write_json, create_once):
            with pytest.raises(OSError, match="No space left") as caught:
                write(disk / "file.json", {"text": "x" * 10_000})
            text = describe_trouble(caught.value, Path("/"))
            expected = f"cannot write {disk / 'file.json'}: the file system mounted at {disk} is full (0.0 MB of 1.0 MB"
            assert text is not None and text.startswith(expected)
        assert [file.name for file in disk.iterdir()] == ["filler"], "no drafts are left"
        remount(disk, "ro")
        with pytest.raises(OSError, match="Read-only") as caught:
            write_json(disk / "file.json", {})
        text = describe_trouble(caught.value, Path("/"))
        assert (
            text
            == f"cannot write {disk / 'file.json'}: the file system mounted at {disk} is read-only. Make it writable"
        )


def test_a_disk_without_room_for_another_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "nr_inodes=3") as is_mounted:
        if not is_mounted:
            pytest.skip("only root may mount file systems")
        (disk / "a").touch()
        (disk / "b").touch()
        with pytest.raises(OSError, match="No space left") as caught:
            write_json(disk / "c", {})
        assert "but no file more: all inodes are used" in (describe_trouble(caught.value, disk) or "")
