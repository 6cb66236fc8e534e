"""Groups of gloo processes: a test file runs itself as every rank of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed


def run_ranks(file: str, world_sizes: Iterable[int], folder: Path) -> None:
    """Run a test file once per rank of the largest group; `be_rank` there takes it through all groups."""
    sizes = sorted(world_sizes, reverse=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, file, str(rank), str(folder), *map(str, sizes)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(sizes[0])
    ]
    errors = [process.communicate(timeout=300)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0] * len(ranks), "\n".join(errors)


def be_rank(work: Callable[[int, int], object]) -> None:
    """Be the rank that the command line names, in one group after the other.

    `work(rank, world_size)` runs inside the group; what it returns is saved where `result_of` finds it.
    """
    torch.set_num_threads(1)
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    for world_size in map(int, sys.argv[3:]):
        if rank < world_size:
            store = f"file://{folder}/store-{world_size}"
            timeout = timedelta(seconds=120)
            distributed.init_process_group("gloo", store, rank=rank, world_size=world_size, timeout=timeout)
            torch.save(work(rank, world_size), folder / f"{rank}-of-{world_size}.pt")
            distributed.destroy_process_group()


def result_of(folder: Path, rank: int, world_size: int) -> dict[str, object]:
    """What a rank of a group has returned."""
    result: dict[str, object] = torch.load(folder / f"{rank}-of-{world_size}.pt")
    return result
