"""Is that still the process that wrote this? Not after a reboot, with a number given away, or as a zombie."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from study.journal.process import is_alive, is_on_this_host, this_process

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def sleeper() -> Iterator[tuple[subprocess.Popen[bytes], Mapping[str, Any]]]:
    """A process that waits for its input to close, and its identity as it says itself."""
    code = """
import json, sys
from study.journal.process import this_process
print(json.dumps(this_process()), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        yield child, json.loads(child.stdout.readline())
        child.stdin.close()


def test_it_knows_itself_and_others(sleeper: tuple[subprocess.Popen[bytes], Mapping[str, Any]]) -> None:
    child, identity = sleeper
    assert identity["pid"] == child.pid
    for one in (identity, this_process()):
        assert is_on_this_host(one) and is_alive(one)


def test_a_dead_process(sleeper: tuple[subprocess.Popen[bytes], Mapping[str, Any]]) -> None:
    child, identity = sleeper
    child.kill()
    child.wait()
    assert not is_alive(identity)


def test_a_zombie_writes_no_more(sleeper: tuple[subprocess.Popen[bytes], Mapping[str, Any]]) -> None:
    child, identity = sleeper
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert not is_alive(identity)


def test_a_recycled_number(sleeper: tuple[subprocess.Popen[bytes], Mapping[str, Any]]) -> None:
    _, identity = sleeper
    assert not is_alive({**identity, "start_time": identity["start_time"] - 3})
    assert not is_alive({**identity, "pid": os.getpid()}), "the tests started before it"


def test_another_boot_and_another_host() -> None:
    assert not is_alive({**this_process(), "boot_id": "another"})
    assert not is_on_this_host({**this_process(), "host": "another"})
    assert not is_on_this_host({})


def test_setting_the_clock_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel derives creation times from a boot time that moves with the clock; identities do not use them."""
    identity = this_process()
    boot_time = psutil.boot_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert is_alive(identity) and identity == this_process()


def test_the_start_counts_from_the_boot() -> None:
    expected = psutil.Process().create_time() - psutil.boot_time()
    assert this_process()["start_time"] == pytest.approx(expected, abs=2)


def test_numbers_that_nobody_has() -> None:
    assert not is_alive({**this_process(), "pid": 2**22 + 1})
