"""The kernel's own word on memory, in a real control group, and in files as both versions write them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from study.worker.oom import num_oom_kills

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_LIMIT_MB = 64

# The parent enters the group, counts, lets a child take more memory than there is, and counts again.
_PROGRAM = """
import os, sys
from pathlib import Path
from study.worker.oom import num_oom_kills
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
before = num_oom_kills()
pid = os.fork()
if pid == 0:
    bytearray(512 * 2**20)
    os._exit(0)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), num_oom_kills() - before)
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with little memory."""
    folder = (V1 if V1.is_dir() else V2) / f"study-test-{os.getpid()}"
    try:
        folder.mkdir()
        limits = {"memory.limit_in_bytes": _LIMIT_MB, "memory.max": _LIMIT_MB, "memory.swap.max": 0}
        for name, limit in limits.items():
            if (folder / name).exists():
                (folder / name).write_text(str(limit * 2**20))
        if not any((folder / name).exists() for name in ("memory.limit_in_bytes", "memory.max")):
            pytest.skip("no control group of this machine limits memory")
        yield folder
    except OSError as error:
        pytest.skip(f"control groups cannot be made here ({error})")
    finally:
        with suppress(OSError):
            folder.rmdir()


def test_the_kernel_kills_and_says_so(group: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, str(group)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(-signal.SIGKILL), "1"]


@pytest.mark.parametrize(
    ("line", "file", "content"),
    [
        (
            "0::/system.slice/job_7/task_0",
            "system.slice/job_7/task_0/memory.events",
            "low 0\nmax 4\noom 3\noom_kill 2\n",
        ),
        ("0::/", "unified/memory.events", "oom_kill 2\n"),
        ("4:cpu,memory:/slurm/job_7", "memory/slurm/job_7/memory.oom_control", "under_oom 0\noom_kill 2\n"),
    ],
    ids=["version 2", "mounted beside version 1", "version 1"],
)
def test_both_versions_are_read(tmp_path: Path, line: str, file: str, content: str) -> None:
    own = tmp_path / "own"
    own.write_text(f"9:name=systemd:/\n{line}\n")
    assert num_oom_kills(own, tmp_path) == 0, "no file, no word"
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    assert num_oom_kills(own, tmp_path) == 2


def test_machines_without_control_groups_say_nothing(tmp_path: Path) -> None:
    assert num_oom_kills(tmp_path / "none", tmp_path) == 0
