"""W processes equal one for every criterion: values and parameter gradients, with unequal shards of unlike rows.

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

from study import registry
from study.criteria.base import Views
from study.tensors.gather import gather_rows

_CRITERIA = registry.names("criteria")
_SHARDS = {2: (11, 5), 3: (5, 9, 2)}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def _batch() -> Tensor:
    """Two views of 16 rows whose scale and offset change from row to row."""
    rows = torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return rows * torch.linspace(0.2, 3, 16)[:, None] + torch.linspace(-1, 2, 16)[:, None]


def _evaluate(network: nn.Module, projections: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Criterion → its total and all parameter gradients in one vector; a tiny common loss gives `none` gradients."""
    parameters = list(network.parameters())
    results = {}
    for name in _CRITERIA:
        total = registry.component("criteria", name)()(Views(projections)).total
        gradients = torch.autograd.grad(total + 1e-9 * projections.sum(), parameters, retain_graph=True)
        results[name] = (total.detach(), torch.cat([gradient.flatten() for gradient in gradients]))
    return results


def _run_rank(rank: int, world_size: int, folder: Path) -> None:
    """Save totals and parameter gradients, averaged over ranks as DistributedDataParallel does."""
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
    results = _evaluate(network, projections)
    for _, gradient in results.values():
        distributed.all_reduce(gradient)
        gradient.div_(world_size)
    torch.save({"projections": projections.detach(), "results": results}, folder / f"{rank}-of-{world_size}.pt")
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


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[Tensor, Tensor]]:
    """What one process computes."""
    network = _network()
    return _evaluate(network, network(_batch()))


@pytest.mark.parametrize("world_size", sorted(_SHARDS))
def test_every_rank_sees_the_whole_batch(world_size: int, results: Path) -> None:
    projections = _network()(_batch()).detach()
    for rank in range(world_size):
        saved = torch.load(results / f"{rank}-of-{world_size}.pt")
        torch.testing.assert_close(saved["projections"], projections, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", _CRITERIA)
@pytest.mark.parametrize("world_size", sorted(_SHARDS))
def test_ranks_with_unequal_shards_equal_one_process(
    world_size: int, name: str, results: Path, expected: dict[str, tuple[Tensor, Tensor]]
) -> None:
    total, gradient = expected[name]
    for rank in range(world_size):
        saved_total, saved_gradient = torch.load(results / f"{rank}-of-{world_size}.pt")["results"][name]
        assert abs(saved_total - total) <= 1e-9 * abs(total)
        assert torch.linalg.norm(saved_gradient - gradient) <= 1e-9 * torch.linalg.norm(gradient)


def test_without_a_process_group_it_is_the_identity() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    assert gather_rows(x) is x
    assert gather_rows(x, dim=1) is x


if __name__ == "__main__":
    for size in sorted(_SHARDS, reverse=True):
        if int(sys.argv[1]) < size:
            _run_rank(int(sys.argv[1]), size, Path(sys.argv[2]))
