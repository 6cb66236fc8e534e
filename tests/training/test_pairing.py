"""The hashes of seeds, all that runs of earlier code had: of the order and the streams that a training draws from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from study.augmentations.base import Augmentation
from study.plan.expand import run_spec
from study.plan.model import Phase
from study.training.add_on import AddOn
from study.training.assemble import build_network, component
from study.training.loop import Trainer
from tests.fakes.tiny_study import tiny_plan

PLAN = tiny_plan("continuation.epochs=2")
IMAGES = (torch.arange(500) % 251).to(torch.uint8).reshape(500, 1, 1, 1).expand(500, 1, 28, 28).clone()
IMAGES[:, 0, 0, 0] = (torch.arange(500) // 251).to(torch.uint8)  # so that every image is told from every other


@dataclass(frozen=True)
class Recorder(Augmentation):
    """Notes which images it is given and which stream it draws from."""

    seen: ClassVar[list[tuple[list[int], int, int]]] = []

    def __call__(
        self, images: Tensor, generator: torch.Generator, view: int = 0, part: tuple[int, int] | None = None
    ) -> Tensor:
        rows = (images[:, 0, 0, 0].long() * 251 + images[:, 0, 1, 1].long()).tolist()
        self.seen.append((rows, view, generator.initial_seed()))
        return images.float() / 255 + torch.rand(images.shape, generator=generator)


def trainer(arm: str, params: dict[str, float] | None = None, base: int = 1, continuation: int = 1) -> Trainer:
    spec = run_spec(PLAN, PLAN.arm(arm), params or {}, base, continuation, Phase.CONFIRM)
    training: dict[str, Any] = dict(spec.training)
    add_on = AddOn(component(training, "criteria", "criterion"), training["criterion"]["strength"])
    return Trainer(
        training, network=build_network(training), add_on=add_on, augmentation=Recorder(), images=IMAGES,
        device=torch.device("cpu"),
    )  # fmt: skip


def test_hashes_are_of_what_the_training_draws_from() -> None:
    Recorder.seen.clear()
    made = trainer("continued")
    list(made.run(flush_every=5, must_stop=lambda: False))
    first_views = [rows for rows, view, _ in Recorder.seen if view == 0]
    assert len(first_views) == 20 and sorted(row for rows in first_views[:10] for row in rows) == list(range(500))
    order = b"".join(row.to_bytes(8, "little") for rows in first_views for row in rows)
    streams = b"".join(seed.to_bytes(8, "little") for _, _, seed in Recorder.seen)
    found = made.pairing()
    assert found["order"] == hashlib.sha256(order).hexdigest()
    assert found["augmentation"] == hashlib.sha256(streams).hexdigest()


def test_they_are_equal_before_anything_was_seen() -> None:
    assert trainer("continued").pairing() == trainer("uniformity", {"criterion.weight": 2.0}).pairing()


@pytest.mark.parametrize("seeds", [{"base": 2}, {"continuation": 2}])
def test_other_seeds_see_something_else(seeds: dict[str, int]) -> None:
    ours, theirs = trainer("continued").pairing(), trainer("continued", **seeds).pairing()
    assert ours["order"] != theirs["order"] and ours["augmentation"] != theirs["augmentation"]
