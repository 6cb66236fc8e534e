"""Files appear whole or not at all, and of many creators one wins."""

from __future__ import annotations

import errno
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import BinaryIO

import pytest

from study.errors import JournalError
from study.journal.files import (
    create_once,
    link_once,
    read_json,
    read_json_or_none,
    write_atomic,
    write_json,
    write_text,
)

_ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writing_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "x" * 100_000)
    write_json(file, {"ü": 1.5, "none": None, "bad": float("inf")})
    assert read_json(file) == {"ü": 1.5, "none": None, "bad": float("inf")}
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("write", [lambda p: write_json(p, {}), lambda p: create_once(p, {})], ids=["write", "create"])
def test_colleagues_may_read(tmp_path: Path, write: object) -> None:
    write(tmp_path / "file")  # type: ignore[operator]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()], ids=["disk", "ctrl-c"])
def test_a_failure_in_between_keeps_the_old_content(tmp_path: Path, failure: BaseException) -> None:
    file = tmp_path / "file"
    write_text(file, "old")

    def fail(opened: BinaryIO) -> None:
        opened.write(b"half of the new")
        raise failure

    with pytest.raises(type(failure)):
        write_atomic(file, fail)
    assert (file.read_text(), names(tmp_path)) == ("old", ["file"])


def test_kill_in_between_keeps_the_old_content(tmp_path: Path) -> None:
    """A writer is killed when its new content is on the disk but not yet renamed."""
    file = tmp_path / "file"
    write_text(file, "old")
    code = """
import sys, time
from pathlib import Path
from study.journal.files import write_atomic
def write(file):
    file.write(b"half of the new")
    file.flush()
    print("written", flush=True)
    time.sleep(600)
write_atomic(Path(sys.argv[1]), write)
"""
    with subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE, cwd=_ROOT) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"written\n"
        writer.send_signal(signal.SIGKILL)
    assert file.read_text() == "old"
    write_text(file, "new")
    assert file.read_text() == "new"


def test_readers_never_see_half_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    code = """
import sys
from pathlib import Path
from study.journal.files import write_json
for number in range(10**9):
    write_json(Path(sys.argv[1]), {"number": number, "padding": [number] * 2000})
"""
    with subprocess.Popen([sys.executable, "-c", code, file], cwd=_ROOT) as writer:
        while not file.exists():
            time.sleep(0.01)
        seen = set()
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            content = read_json(file)
            assert content["padding"] == [content["number"]] * 2000
            seen.add(content["number"])
        writer.kill()
    assert len(seen) > 1


def _create(path: Path, number: int, barrier: Barrier) -> None:
    barrier.wait()
    won = create_once(path, {"winner": number})
    (path.parent / f"{number}.{'won' if won else 'lost'}").touch()


def test_of_many_processes_exactly_one_creates(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        barrier = context.Barrier(8)
        processes = [context.Process(target=_create, args=(folder / "claim", n, barrier)) for n in range(8)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        (winner,) = folder.glob("*.won")
        assert len(list(folder.glob("*.lost"))) == 7
        assert read_json(folder / "claim") == {"winner": int(winner.stem)}
        assert len(names(folder)) == 9, "nothing is left beside it"


def test_creating_keeps_what_exists(tmp_path: Path) -> None:
    assert create_once(tmp_path / "claim", {"a": 1})
    assert not create_once(tmp_path / "claim", {"a": 2})
    assert (read_json(tmp_path / "claim"), names(tmp_path)) == ({"a": 1}, ["claim"])


def test_creating_cleans_up_when_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        create_once(tmp_path / "claim", {"a": object()})
    assert names(tmp_path) == []


def test_the_first_link_wins_and_linking_the_same_again_is_no_loss(tmp_path: Path) -> None:
    """NFS repeats a request whose answer was lost, and then says that the file exists."""
    first, second, target = (tmp_path / name for name in ("first", "second", "target"))
    first.write_text("first")
    second.write_text("second")
    assert link_once(first, target)
    assert link_once(first, target)
    assert not link_once(second, target)
    assert target.read_text() == "first" and first.samefile(target)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"[1]", b"\xff\xfe", b"null"])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "job.json"
    file.write_bytes(content)
    with pytest.raises(JournalError, match=r"job\.json is damaged .*move it away"):
        read_json(file)


def test_missing_files_are_none(tmp_path: Path) -> None:
    assert read_json_or_none(tmp_path / "missing") is None
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "missing")


def test_json_is_readable_by_eye(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": {"c": 1}})
    text = (tmp_path / "a").read_text()
    assert text.endswith("}\n") and text.count("\n") > 3 and json.loads(text) == {"b": {"c": 1}}
