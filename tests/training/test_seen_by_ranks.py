"""Several processes come to the hashes of one with the whole batch, unless one of them saw something else.

Run as a program, this file is one rank of the process groups.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.pairing import ROUNDING
from study.datasets.image_folder import ImageFolder
from study.plan.expand import base_spec
from study.tensors.streams import stream
from study.training.assemble import build_network, build_trainer, set_numerics
from study.training.loop import Trainer
from tests.fakes import tiny_datasets
from tests.fakes.ranks import be_rank, result_of, run_ranks
from tests.fakes.tiny_study import tiny_plan

_SETTINGS = {"num_classes": 2, "num_ssl_images": 24, "num_validation_images": 4, "image_size": 28}
_DATASET = ImageFolder(**_SETTINGS, crops_from="originals")
_WORLD_SIZES = (1, 2, 3)
_FAULTS = {"weights": "loaded_weights", "order": "rows", "pixels": "views"}
_SCENARIOS = ("tensor", "originals", *_FAULTS)


def _trainer(scenario: str, root: Path, rank: int) -> Trainer:
    is_of_files = scenario == "originals"
    settings = ", ".join(f"{key}: {value}" for key, value in _SETTINGS.items())
    plan = tiny_plan(
        f"dataset={{name: image_folder, crops_from: originals, {settings}}}",
        f"augmentation={'photographs' if is_of_files else 'small_images'}", "base.batch_size=6",
        "continuation.batch_size=6",
    )  # fmt: skip
    training = base_spec(plan, 1).training
    set_numerics(training["numerics"])
    network = build_network(training)
    generator = stream("pixels", rank if scenario == "pixels" else 0)
    images: Any = torch.randint(0, 256, (24, 3, 28, 28), dtype=torch.uint8, generator=generator)
    if is_of_files:
        images = _DATASET.unlabelled(root)
    if scenario == "weights" and rank:
        next(network.parameters()).data.view(-1)[0] += 1
    made = build_trainer(training, network, images, torch.device("cpu"))
    if scenario == "order" and rank:
        own = made._feed._own
        made._feed._own = lambda rows: own(rows).flip(0)  # type: ignore[method-assign]
    return made


def _work(rank: int, world_size: int) -> dict[str, Any]:
    """What this rank says of two steps and of all, for every scenario; a second trainer goes on from the first."""
    root, found = Path(sys.argv[2]), dict[str, Any]()
    for scenario in _SCENARIOS:
        first, second = _trainer(scenario, root, rank), _trainer(scenario, root, rank)
        for _ in first.run(flush_every=2, must_stop=lambda made=first: made.step == 2):  # type: ignore[misc]
            pass
        second._seen.load_state(first.state()["seen"], 2)
        second.step = 2
        for _ in second.run(flush_every=2, must_stop=lambda: False):
            pass
        found[scenario] = [made.pairing() for made in (first, second)]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ranks")
    tiny_datasets.write_folders(root / "train", ("ant", "bee"), 14, ".jpg", seed=1)
    tiny_datasets.write_folders(root / "val", ("ant", "bee"), 2, ".jpg", seed=2)
    run_ranks(__file__, _WORLD_SIZES, root)
    return root


def _of(folder: Path, rank: int, world_size: int, scenario: str) -> list[dict[str, Any]]:
    found: Any = result_of(folder, rank, world_size)[scenario]
    return list(found)


@pytest.mark.parametrize("scenario", ["tensor", "originals"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_all_ranks_have_the_hashes_of_one_process(folder: Path, scenario: str, world_size: int) -> None:
    """The second half goes on from a checkpoint. Parts of photographs may be rounded otherwise than the whole."""
    expected = _of(folder, 0, 1, scenario)
    assert expected[0]["rows"] != expected[1]["rows"] and expected[1]["last_step"] == 4
    for rank in range(world_size):
        found = _of(folder, rank, world_size, scenario)
        if scenario == "originals":
            for ours, theirs in zip(found, expected, strict=True):
                assert ours.pop("sketch") == pytest.approx(theirs["sketch"], abs=ROUNDING / 10)
                del ours["views"]
                assert ours == {name: value for name, value in theirs.items() if name in ours}
        else:
            assert found == expected


@pytest.mark.parametrize(("scenario", "name"), _FAULTS.items())
def test_a_rank_that_saw_something_else_is_found(folder: Path, scenario: str, name: str) -> None:
    (_, expected), (_, found) = (_of(folder, 0, world_size, scenario) for world_size in (1, 2))
    differing = {key for key in expected if expected[key] != found[key]} - {"sketch"}
    assert name in differing and differing <= {name, "views"}


if __name__ == "__main__":
    be_rank(_work)
