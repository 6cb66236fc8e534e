"""W processes equal one for every base method: losses, parameter gradients, and the weights after updates.

Equal shards of unlike rows, synchronised batch normalisation on the CPU, float64, two updates, so that teachers, queues
and centres take part. On GPUs torch's own `nn.SyncBatchNorm` is used, which is not shown here.

Run as a program, this file is one rank of the process groups.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from study import registry
from study.methods.base import MethodNetwork, Moment
from study.tensors.batch_norm import synchronise
from study.training.add_on import AddOn
from study.training.loop import backpropagate
from tests.fakes.ranks import be_rank, result_of, run_ranks

_METHODS = registry.names("methods")
_WORLD_SIZES = (2, 3)
_BATCH, _STEPS = 12, 2
_OPTIONS: dict[str, dict[str, Any]] = {"swav": {"queue_size": 12}}


def _network(name: str) -> MethodNetwork:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 10)
    )
    network: MethodNetwork = registry.component("methods", name)(**_OPTIONS.get(name, {})).build(backbone, 10)
    return network.double()


def _views(name: str, step: int) -> list[Tensor]:
    """Views of 12 images whose scale and offset change from image to image; with local ones where they are accepted."""
    generator = torch.Generator().manual_seed(step)
    sizes = (8, 8, 5) if registry.component("methods", name).accepts_local_views else (8, 8)
    scale, offset = torch.linspace(0.2, 3, _BATCH), torch.linspace(-1, 2, _BATCH)
    return [
        torch.randn(_BATCH, 1, size, size, generator=generator, dtype=torch.float64) * scale[:, None, None, None]
        + offset[:, None, None, None]
        for size in sizes
    ]


def _train(name: str, rank: int, world_size: int) -> dict[str, Any]:
    """Two updates with a criterion; gradients and losses averaged over ranks as DistributedDataParallel does."""
    network = synchronise(_network(name), torch.device("cpu")) if world_size > 1 else _network(name)
    assert isinstance(network, MethodNetwork)
    network.train()
    parameters = {key: p for key, p in network.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.05)
    add_on = AddOn(registry.component("criteria", "uniformity")(), strength=0.5)
    seen: dict[str, Any] = {"loss": [], "gradients": []}
    for step in range(_STEPS):
        moment = Moment(step, num_steps=10, steps_per_epoch=5, is_continuation=True)
        network.before_step(moment)
        shard = slice(rank * _BATCH // world_size, (rank + 1) * _BATCH // world_size)
        output = network([view[shard] for view in _views(name, step)])
        optimizer.zero_grad()
        backpropagate(output, add_on.pull(output))
        loss = output.loss.detach().clone()
        if world_size > 1:
            for tensor in (loss, *(p.grad for p in parameters.values())):
                distributed.all_reduce(tensor)
                tensor.div_(world_size)
        seen["loss"].append(loss)
        seen["gradients"].append({key: p.grad.clone() for key, p in parameters.items()})
        network.before_update(moment)
        optimizer.step()
        network.after_update(moment)
    return {**seen, "state": network.state_dict(), "scale": torch.tensor(add_on.scale, dtype=torch.float64)}


def _work(rank: int, world_size: int) -> dict[str, Any]:
    return {name: _train(name, rank, world_size) for name in _METHODS}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what each rank of groups of three and of two processes has computed."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(__file__, _WORLD_SIZES, folder)
    return folder


@pytest.mark.parametrize("world_size", _WORLD_SIZES)
@pytest.mark.parametrize("name", _METHODS)
def test_processes_with_equal_shards_equal_one(name: str, world_size: int, results: Path) -> None:
    expected = _train(name, 0, 1)
    largest = max(float(g.norm()) for gradients in expected["gradients"] for g in gradients.values())
    for rank in range(world_size):
        found: Any = result_of(results, rank, world_size)[name]
        assert _deviation(found["scale"], expected["scale"]) < 1e-9
        for step in range(_STEPS):
            assert _deviation(found["loss"][step], expected["loss"][step]) < 1e-9
            for key, gradient in expected["gradients"][step].items():
                difference = torch.linalg.norm(found["gradients"][step][key] - gradient)
                # Some gradients are zero but for rounding, as that of a bias before a batch normalisation.
                assert difference < 1e-9 * max(float(gradient.norm()), 1e-3 * largest), (step, key)
        assert found["state"].keys() == expected["state"].keys()
        for key, value in expected["state"].items():
            assert _deviation(found["state"][key].double(), value.double()) < 1e-9, key


def _deviation(found: Tensor, expected: Tensor) -> float:
    """Relative to the size of what is expected; means of normalised values are zero but for rounding."""
    return float(torch.linalg.norm(found - expected) / torch.linalg.norm(expected).clamp(min=1e-3))


if __name__ == "__main__":
    be_rank(_work)
