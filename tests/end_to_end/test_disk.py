"""A disk that is full, or read-only, under a study: it is named, and no advice would lose what is there."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from study.journal.replay import AttemptStatus, replay_run
from tests.fakes.command import Sweep, pid_of
from tests.fakes.mounts import fill, mounted, remount
from tests.fakes.tiny_study import is_running, wait_for

UNTUNED = ("tune=none", "arms.uniformity={criterion: uniformity, strength: 0.2}", "confirm.base_seeds=[1]")


@pytest.mark.slow
def test_a_disk_that_fills_up_and_one_that_turns_read_only(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=64m") as is_mounted:
        if not is_mounted:
            pytest.skip("only root may mount file systems")
        study = sweep(*UNTUNED, "continuation.epochs=30", home=disk / "home")
        command = study.start("--slots", "2", "--home", str(disk / "home"))
        training = study.wait_until_training()
        filler = fill(disk)
        assert command.wait(240) == 2, command.output
        assert f"the file system mounted at {disk} is full (0.0 MB of 64.0 MB free)" in command.output
        assert f"error: cannot write {disk / 'home'}/" in command.output
        again = f"--slots 2 --home {shlex.quote(str(disk / 'home'))}"
        assert "Make room there and start the same command again, nothing is lost: python " in command.output
        assert command.output.strip().endswith(again) and "another home" not in command.output
        assert "Traceback" not in command.output
        wait_for(lambda: not is_running(pid_of(training)), "the end of what ran")
        filler.unlink()
        command = study.start("--slots", "2", "--home", str(disk / "home"))
        assert command.wait(400) == 0, command.output
        for run in study.runs():
            attempts = replay_run(run).attempts
            assert attempts[-1].status is AttemptStatus.FINISHED
            failures = [attempt.failure for attempt in attempts if attempt.failure is not None]
            assert {failure["kind"] for failure in failures} <= {"disk"}
            assert all(f"mounted at {disk} is full" in failure["message"] for failure in failures)

        remount(disk, "ro")
        refused = study.start("continuation.epochs=30", "confirm.base_seeds=[1,2]", "--home", str(disk / "home"))
        assert refused.wait() == 2
        assert f"the file system mounted at {disk} is read-only. Make it writable and start the same" in refused.output
        assert "another home" not in refused.output
        remount(disk, "rw")
