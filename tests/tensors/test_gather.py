"""W processes equal one: values and parameter gradients, with another number of other rows on every rank.

Run as a program, this file is one rank of the process groups.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn

from study.criteria.base import Views
from study.criteria.e2mc import E2MC
from study.criteria.mmcr import MMCR
from study.criteria.uniformity import Uniformity
from study.tensors.gather import gather_rows

_SHARDS = {2: (11, 5), 3: (5, 9, 2)}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def _batch() -> Tensor:
    """Two views of 16 rows whose scale and offset change from row to row."""
    rows = torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return rows * torch.linspace(0.2, 3, 16)[:, None] + torch.linspace(-1, 2, 16)[:, None]


def _loss(projections: Tensor) -> Tensor:
    views = Views(projections)
    criteria = (E2MC(entropy_weight=0.7, covariance_weight=3.0), Uniformity(), MMCR(weight=0.5))
    return torch.stack([criterion(views).total for criterion in criteria]).sum()


def _run_rank(rank: int, world_size: int, folder: Path) -> None:
    """Save loss and parameter gradients, averaged over ranks as DistributedDataParallel does."""
    distributed.init_process_group(
        "gloo",
        f"file://{folder}/store-{world_size}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    network = _network()
    own = torch.split(_batch(), list(_SHARDS[world_size]), dim=1)[rank]
    projections = gather_rows(network(own), dim=1)
    loss = _loss(projections)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    for gradient in gradients:
        distributed.all_reduce(gradient)
        gradient /= world_size
    saved = {"projections": projections.detach(), "loss": loss.detach(), "gradients": gradients}
    torch.save(saved, folder / f"{rank}-of-{world_size}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what each rank of groups of three and of two processes has computed."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(max(_SHARDS))
    ]
    errors = [process.communicate(timeout=120)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0] * len(ranks), "\n".join(errors)
    return folder


@pytest.mark.parametrize("world_size", sorted(_SHARDS))
def test_ranks_with_unequal_shards_equal_one_process(world_size: int, results: Path) -> None:
    network = _network()
    projections = network(_batch())
    loss = _loss(projections)
    loss.backward()  # type: ignore[no-untyped-call]
    for rank in range(world_size):
        saved = torch.load(results / f"{rank}-of-{world_size}.pt")
        torch.testing.assert_close(saved["projections"], projections.detach(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(saved["loss"], loss.detach(), rtol=1e-9, atol=1e-9)
        for gradient, parameter in zip(saved["gradients"], network.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-9, atol=1e-9)


def test_without_a_process_group_it_is_the_identity() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    assert gather_rows(x) is x
    assert gather_rows(x, dim=1) is x


if __name__ == "__main__":
    for size in sorted(_SHARDS, reverse=True):
        if int(sys.argv[1]) < size:
            _run_rank(int(sys.argv[1]), size, Path(sys.argv[2]))
