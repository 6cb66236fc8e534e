"""Two processes train a run as one does: the same batches, the same weights, one folder, one end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from study.errors import UserError
from study.execution.local import LocalExecutor
from study.journal.files import read_json
from study.paths import AttemptPaths, HomePaths
from study.plan.spec import RunSpec
from study.training.assemble import build_network
from study.training.team import Team
from study.worker.ranks import _left_with
from tests.fakes.tiny_study import events_of, is_running, pretraining, submit, wait_for, wait_for_end, wait_for_event

# Adam would blow up the rounding of tiny gradients; at ten times this rate a change of 1e-6 grows tenfold in every
# step, in one process, too.
_SGD = {"base.optimizer": "{name: sgd, lr: 0.005, warmup_epochs: 0}"}


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(4)
    yield executor
    executor.close()


def run(
    folder: Path, spec: RunSpec, executor: LocalExecutor, num_processes: int, how: str = "finished"
) -> AttemptPaths:
    attempt = submit(HomePaths(folder), spec, executor, num_processes=num_processes)
    assert wait_for_end(attempt) == how, events_of(attempt)[-1]
    return attempt


def flat(weights: Mapping[str, Tensor]) -> Tensor:
    """All floating-point weights and statistics in one vector."""
    return torch.cat(
        [weights[name].flatten().double() for name in sorted(weights) if weights[name].is_floating_point()]
    )


def test_two_processes_give_the_weights_of_one(tmp_path: Path, executor: LocalExecutor) -> None:
    spec = pretraining(1, **_SGD)
    one, two = (run(tmp_path / str(n), spec, executor, n) for n in (1, 2))
    before = flat(build_network(spec.training).state_dict())
    expected, found = flat(load_file(one.weights)), flat(load_file(two.weights))
    assert float((found - expected).norm() / (expected - before).norm()) < 1e-3
    losses = [[e["metrics"]["train/loss"] for e in events_of(attempt, "step")] for attempt in (one, two)]
    assert len(losses[0]) == len(losses[1]) == 10
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=0, atol=1e-4)
    paired = read_json(two.trained)["paired"]
    assert paired == read_json(one.trained)["paired"] and len(paired["views"]) == 64 and paired["last_step"] == 10


@pytest.mark.slow
def test_a_signal_stops_all_ranks_at_one_step_and_another_attempt_goes_on(
    tmp_path: Path, executor: LocalExecutor
) -> None:
    spec = pretraining(40, **_SGD)
    home = HomePaths(tmp_path / "home")
    attempt = submit(home, spec, executor, num_processes=2)
    wait_for_event(attempt, "step")
    pid = int(read_json(attempt.claim)["pid"])
    others = [child.pid for child in psutil.Process(pid).children()]
    assert len(others) == 1
    os.kill(others[0], signal.SIGTERM)  # one that is not rank 0 has the reason
    assert wait_for_end(attempt) == "stopped"
    wait_for(lambda: not is_running(others[0]), "the end of the other rank")
    (saved,) = events_of(attempt, "checkpoint")
    assert 0 < saved["step"] < 400
    assert saved["step"] == events_of(attempt, "step")[-1]["step"]

    again = submit(home, spec, executor, num_processes=2)
    assert wait_for_event(again, "started")["resumed_step"] == saved["step"]
    assert wait_for_event(again, "step")["step"] == saved["step"] + 1
    child = psutil.Process(int(read_json(again.claim)["pid"])).children()[0].pid
    os.kill(int(read_json(again.claim)["pid"]), signal.SIGKILL)
    wait_for(lambda: not is_running(child), "the end of a rank whose first is gone", 20)


def test_batches_that_cannot_be_shared() -> None:
    with pytest.raises(UserError, match="batch_size 50 cannot be shared by 4 processes"):
        Team(0, 4).require_divides(50)
    assert [Team(rank, 5).rows(50) for rank in (0, 4)] == [slice(0, 10), slice(40, 50)]


def test_who_waits_in_vain_for_a_rank_that_has_failed_leaves() -> None:
    """As where a collective call does not return; gloo, unlike NCCL, would not wait."""

    def exit_code_beside(command: str) -> int:
        pid = os.fork()
        if pid == 0:
            other = subprocess.Popen([command])
            with _left_with([other], patience_s=0.1):
                other.wait()
                time.sleep(3)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert exit_code_beside("false") == 1
    assert exit_code_beside("true") == 0
