"""All ranks of a distributed training stop after the same step."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from study.paths import RunPaths
from study.worker.preemption import StopWatch, stop_together
from tests.fakes.ranks import be_rank, result_of, run_ranks

WARNED_AT = 5
NUM_STEPS = 1000


def steps_until_the_stop(rank: int, world_size: int) -> dict[str, object]:
    """Steps with a collective call each; one rank alone is warned."""
    folder = Path.cwd() / f"rank{rank}-of-{world_size}"
    watch = StopWatch(RunPaths(folder).attempt(1))
    watch.install()
    must_stop = stop_together(watch.must_stop, torch.device("cpu"))
    for step in range(1, NUM_STEPS + 1):
        if rank == world_size - 1 and step == WARNED_AT:
            os.kill(os.getpid(), signal.SIGUSR2)
        torch.distributed.all_reduce(torch.ones(()))
        if must_stop():
            return {"step": step, "reason": watch.reason}
    return {"step": None}


def test_ranks_agree(tmp_path: Path) -> None:
    run_ranks(__file__, [2, 3], tmp_path)
    for world_size in (2, 3):
        results = [result_of(tmp_path, rank, world_size) for rank in range(world_size)]
        assert [result["step"] for result in results] == [WARNED_AT] * world_size
        assert results[-1]["reason"] == "SIGUSR2" and results[0]["reason"] is None


def test_a_single_process_needs_nobody() -> None:
    answers = iter([False, True])
    must_stop = stop_together(lambda: next(answers), torch.device("cpu"))
    assert [must_stop(), must_stop()] == [False, True]


if __name__ == "__main__":
    be_rank(steps_until_the_stop)
