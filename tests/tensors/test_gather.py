"""W processes equal one for every criterion: values and parameter gradients, with unequal shards of unlike rows.

Run as a program, this file is one rank of the process groups.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from study import registry
from study.criteria.base import Views
from study.tensors.gather import gather_rows, own_rows
from tests.fakes.ranks import be_rank, result_of, run_ranks

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


def _work(rank: int, world_size: int) -> dict[str, Any]:
    """Totals and parameter gradients, averaged over ranks as DistributedDataParallel does."""
    network = _network()
    own = torch.split(_batch(), list(_SHARDS[world_size]), dim=1)[rank]
    projections = gather_rows(network(own), dim=1)
    results = _evaluate(network, projections)
    for _, gradient in results.values():
        distributed.all_reduce(gradient)
        gradient.div_(world_size)
    owned = own_rows(torch.zeros(_SHARDS[world_size][rank]))
    return {"projections": projections.detach(), "results": results, "own": (owned.start, owned.stop)}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what each rank of groups of three and of two processes has computed."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(__file__, _SHARDS, folder)
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
        saved: Any = result_of(results, rank, world_size)
        torch.testing.assert_close(saved["projections"], projections, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", _CRITERIA)
@pytest.mark.parametrize("world_size", sorted(_SHARDS))
def test_ranks_with_unequal_shards_equal_one_process(
    world_size: int, name: str, results: Path, expected: dict[str, tuple[Tensor, Tensor]]
) -> None:
    total, gradient = expected[name]
    for rank in range(world_size):
        saved_total, saved_gradient = _results_of(results, rank, world_size)[name]
        assert abs(saved_total - total) <= 1e-9 * abs(total)
        assert torch.linalg.norm(saved_gradient - gradient) <= 1e-9 * torch.linalg.norm(gradient)


def _results_of(folder: Path, rank: int, world_size: int) -> dict[str, tuple[Tensor, Tensor]]:
    results: Any = result_of(folder, rank, world_size)["results"]
    found: dict[str, tuple[Tensor, Tensor]] = results
    return found


@pytest.mark.parametrize("world_size", sorted(_SHARDS))
def test_every_rank_knows_its_own_rows(world_size: int, results: Path) -> None:
    starts = [sum(_SHARDS[world_size][:rank]) for rank in range(world_size)]
    owned: list[Any] = [result_of(results, rank, world_size)["own"] for rank in range(world_size)]
    assert owned == [(start, start + size) for start, size in zip(starts, _SHARDS[world_size], strict=True)]


def test_without_a_process_group_it_is_the_identity() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    assert gather_rows(x) is x
    assert gather_rows(x, dim=1) is x
    assert own_rows(x) == slice(0, 2)


if __name__ == "__main__":
    be_rank(_work)
