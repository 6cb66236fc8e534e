"""One orchestrator at a time; a dead one blocks nobody, a living one cannot be pushed aside by accident."""

from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from study.errors import LeaseHeldError
from study.journal.files import read_json, write_json
from study.journal.process import this_process
from study.orchestration import lease as lease_module
from study.orchestration.lease import BEAT_EVERY_S, Lease, holder_of
from tests.fakes.tiny_study import wait_for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "my-study").mkdir()
    return tmp_path / "my-study" / "lease"


def held_by(path: Path, age_s: float = 0.0, **changes: Any) -> Mapping[str, Any]:
    """Leave somebody's lease."""
    content = {**this_process(), "token": "theirs", "beat": time.time() - age_s, **changes}
    write_json(path, content)
    return content


def dead_process() -> dict[str, Any]:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pid = process.pid
    return {**this_process(), "pid": pid}


def test_taking_holding_and_giving_back(path: Path) -> None:
    lease = Lease.acquire(path)
    assert lease.replaced is None
    holder = holder_of(path)
    assert holder is not None and holder["pid"] == os.getpid()
    lease.release()
    assert not path.exists() and holder_of(path) is None
    Lease.acquire(path).release()


def test_a_living_holder_of_this_host_is_named(path: Path) -> None:
    held_by(path, age_s=1000)  # however long it has been silent: it lives
    for take_over in (False, True):
        with pytest.raises(LeaseHeldError) as caught:
            Lease.acquire(path, take_over=take_over)
        assert f"pid {os.getpid()} on {this_process()['host']}, last beat 1000 s ago" in str(caught.value)
        assert "python -m study stop my-study" in str(caught.value)
    assert read_json(path)["token"] == "theirs"


@pytest.mark.parametrize(
    "changes", [dead_process(), {"boot_id": "before the reboot"}, {"start_time": 0.0}], ids=["pid", "boot", "recycled"]
)
def test_a_dead_holder_of_this_host_is_replaced_at_once(path: Path, changes: Mapping[str, Any]) -> None:
    left = held_by(path, **changes)
    assert holder_of(path) is None
    lease = Lease.acquire(path)
    assert lease.replaced == left
    assert read_json(path)["pid"] == os.getpid()


def test_a_holder_on_another_host_is_waited_for(path: Path) -> None:
    held_by(path, host="elsewhere", age_s=2.5 * BEAT_EVERY_S)
    with pytest.raises(LeaseHeldError, match=r"on elsewhere, last beat 25 s ago.*--take-over"):
        Lease.acquire(path)
    held_by(path, host="elsewhere", age_s=3.5 * BEAT_EVERY_S)
    assert Lease.acquire(path).replaced is not None


def test_taking_over_from_another_host_names_the_old_holder(path: Path) -> None:
    left = held_by(path, host="elsewhere", pid=4711)
    assert Lease.acquire(path, take_over=True).replaced == left


def test_beats_come_when_it_is_time(path: Path) -> None:
    lease = Lease.acquire(path)
    first = read_json(path)["beat"]
    lease.beat()
    assert read_json(path)["beat"] == first
    lease._beaten = -math.inf
    lease.beat()
    assert read_json(path)["beat"] > first


@pytest.mark.parametrize("is_gone", [False, True], ids=["taken over", "removed"])
def test_loss_is_noticed_and_nothing_of_the_successor_is_touched(path: Path, is_gone: bool) -> None:
    lease = Lease.acquire(path)
    lease._beaten = -math.inf
    if is_gone:
        path.unlink()
    else:
        held_by(path, pid=4711)
    with pytest.raises(LeaseHeldError, match="another orchestrator took this study over" + (".*4711" * (not is_gone))):
        lease.beat()
    lease.release()
    assert path.exists() is not is_gone


def _contend(path: Path, number: int, barrier: Barrier) -> None:
    barrier.wait()
    try:
        Lease.acquire(path)
        outcome = "won"
    except LeaseHeldError:
        outcome = "lost"
    (path.parent / f"{number}.{outcome}").touch()
    barrier.wait()  # whoever has it lives until all have tried


@pytest.mark.parametrize("left", ["nothing", "dead holder"])
def test_of_many_that_start_together_exactly_one_wins(tmp_path: Path, left: str) -> None:
    """With a dead holder's lease there, each could remove what another has just put in its place."""
    context = multiprocessing.get_context("fork")
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if left == "dead holder":
            held_by(folder / "lease", boot_id="before the reboot")
        barrier = context.Barrier(8)
        processes = [context.Process(target=_contend, args=(folder / "lease", n, barrier)) for n in range(8)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert len(list(folder.glob("*.won"))) == 1 and len(list(folder.glob("*.lost"))) == 7


def test_a_lease_is_kept_while_its_holder_is_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an orchestrator does may take longer than a lease lasts, such as submitting to a scheduler in trouble."""
    monkeypatch.setattr(lease_module, "BEAT_EVERY_S", 0.1)
    lease = Lease.acquire(path)
    with lease.kept():
        first = read_json(path)["beat"]
        wait_for(lambda: read_json(path)["beat"] > first, "a beat", 10)
    last = read_json(path)["beat"]
    time.sleep(0.3)
    assert read_json(path)["beat"] == last, "nobody beats when it is over"


def test_a_holder_hears_that_it_was_taken_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_EVERY_S", 0.1)
    lease = Lease.acquire(path)
    theirs = {**read_json(path), "token": "theirs", "host": "elsewhere"}
    with lease.kept():
        write_json(path, theirs)
        wait_for(lambda: lease._lost is not None, "the loss", 10)
    with pytest.raises(LeaseHeldError, match=r"took this study over: .* on elsewhere"):
        lease.beat()
    lease.release()
    assert read_json(path) == theirs
