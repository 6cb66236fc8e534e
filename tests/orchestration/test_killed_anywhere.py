"""The orchestrator is killed between any two of its actions on the file system; starting it again carries on.

Everything is real but the runs, which cost milliseconds: the kernel ends the process (`os._exit`) just before its k-th
change of a file. Runs execute inline, so that the kills hit workers too.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from study.execution.inline import InlineExecutor
from study.journal.files import read_json
from study.journal.replay import AttemptStatus, replay_run
from study.orchestration import actions
from study.orchestration.lease import Lease
from study.orchestration.orchestrator import Orchestrator, Settings
from study.orchestration.snapshot import RunStatus
from study.paths import HomePaths, RunPaths
from tests.fakes.tiny_study import SWEEP, tiny_plan

_KILLED = 99
_CHANGES = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.truncate", "os.symlink"}
PLAN = tiny_plan("confirm.base_seeds=[1]")


def orchestrate(home: HomePaths) -> None:
    """What the command does between reading the sweep file and the report."""
    study = home.study(PLAN.study)
    study.root.mkdir(parents=True, exist_ok=True)
    lease = Lease.acquire(study.lease)
    actions.store_plan(study, PLAN, SWEEP)
    executor = InlineExecutor("tests.fakes.brief_run")
    orchestrator = Orchestrator(PLAN, home, executor, lease, Settings(home.root), lambda _progress: None)
    progress = orchestrator.run()
    assert {view.status for _, _, view in progress.runs.values()} == {RunStatus.COMPLETED}
    lease.release()


def in_a_process(home: HomePaths, kill_before: int | None = None) -> tuple[int, int]:
    """Orchestrate in a forked process, killed before its change number `kill_before` of a file in the home.

    Returns:
        Exit code, and how many changes there were.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (is_write or event in _CHANGES) and str(arguments[0]).startswith(str(home.root)):
                if count == kill_before:
                    os._exit(_KILLED)
                count += 1

        code = 1
        try:
            sys.addaudithook(hook)
            orchestrate(home)
            os.write(writing, str(count).encode())
            code = 0
        except BaseException:  # noqa: BLE001 - the end of a process
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reading) as answer:
        count = int(answer.read() or 0)
    return os.waitstatus_to_exitcode(status), count


def runs_of(home: HomePaths) -> list[RunPaths]:
    return [*map(RunPaths, sorted(home.bases.iterdir())), *home.study(PLAN.study).existing_runs()]


def outcome(home: HomePaths) -> Mapping[str, Any]:
    """What must not depend on kills: trials with their parameters and objectives, runs with their metrics."""
    study = home.study(PLAN.study)
    trials = {str(path.relative_to(home.root)): read_json(path) for path in study.search.rglob("*.json")}
    metrics = {
        run.root.name: {path.name: read_json(path)["metrics"] for path in run.evaluations.glob("*.json")}
        for run in runs_of(home)
    }
    return {"trials": trials, "metrics": metrics}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Any], int]:
    home = HomePaths(tmp_path_factory.mktemp("undisturbed"))
    code, num_changes = in_a_process(home)
    assert code == 0
    return outcome(home), num_changes


def check_kill(folder: Path, kill_before: int, expected: Mapping[str, Any]) -> None:
    home = HomePaths(folder / f"kill{kill_before}")
    home.root.mkdir()
    assert in_a_process(home, kill_before)[0] == _KILLED
    assert in_a_process(home)[0] == 0
    assert outcome(home) == expected
    for run in runs_of(home):
        finished = [a for a in replay_run(run).attempts if a.status is AttemptStatus.FINISHED]
        trained = [a for a in replay_run(run).attempts if a.is_trained]
        assert len(finished) <= 1 and len(run.existing_attempts()) <= 2, run.root
        assert run.trained.exists() and len(trained) <= 1, "no training is done again once its result is there"


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_change(tmp_path: Path, undisturbed: tuple[Mapping[str, Any], int], every: int) -> None:
    """All of them take minutes; of every five, CI tries one, another one each time."""
    expected, num_changes = undisturbed
    assert num_changes > 100
    first = random.randrange(every)
    print(f"from change {first} on")
    for kill_before in range(first, num_changes, every):
        check_kill(tmp_path, kill_before, expected)
