"""News is found at once on a local disk, by few operations, and nothing is missed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from study.execution.slurm import arrivals
from study.execution.slurm.arrivals import Arrivals, Round
from tests.fakes.clock import Clock


def test_what_appears_is_seen_once(tmp_path: Path, clock: Clock) -> None:
    folder = Arrivals(tmp_path, clock)
    assert folder.new() == []
    (tmp_path / "1.json").touch()
    (tmp_path / ".2.json.draft.tmp").touch()
    assert folder.new() == ["1.json"]
    assert folder.new() == []
    (tmp_path / "2.json").touch()
    (tmp_path / "3.json").touch()
    assert folder.new() == ["2.json", "3.json"]


def test_a_folder_may_come_later(tmp_path: Path, clock: Clock) -> None:
    folder = Arrivals(tmp_path / "said", clock)
    assert folder.new() == []
    (tmp_path / "said").mkdir()
    (tmp_path / "said" / "w0001-started").touch()
    assert folder.new() == ["w0001-started"]


def test_what_comes_within_one_tick_of_the_clock_is_not_missed(tmp_path: Path, clock: Clock) -> None:
    """The folder's time of change stays what it was."""
    folder = Arrivals(tmp_path, clock)
    (tmp_path / "1").touch()
    assert folder.new() == ["1"]
    changed = tmp_path.stat()
    (tmp_path / "2").touch()
    os.utime(tmp_path, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    found = []
    for _ in range(40):
        clock.now += 0.05
        found += folder.new()
    assert found == ["2"]


def test_a_client_that_remembers_the_time_of_change_is_made_to_ask(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does for up to a minute, unless the folder is opened."""
    folder = Arrivals(tmp_path, clock)
    folder.new()
    old = tmp_path.stat()
    monkeypatch.setattr(Path, "stat", lambda self, **_: old)
    for _ in range(40):
        clock.now += 0.1
        folder.new()  # what it remembers is settled
    (tmp_path / "1").touch()
    seen_after = next(n for n in range(100) if tick(clock, 0.1) and folder.new() == ["1"])
    assert seen_after * 0.1 <= arrivals._OPEN_EVERY_S


def tick(clock: Clock, seconds: float) -> bool:
    clock.now += seconds
    return True


def test_a_round_comes_to_everybody_and_takes_few_at_a_time() -> None:
    turn, members = Round[int](), list(range(10))
    rounds = [turn.next(members) for _ in range(6)]
    assert rounds[:3] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and rounds[3:] == rounds[:3]
    assert turn.next([]) == [] and turn.next([5]) == [5]
