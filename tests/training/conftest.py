"""Trainers of the tiny study on real images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from study.plan.components import build
from study.training.assemble import build_network, build_trainer, set_numerics
from study.training.loop import StepRecord, Trainer
from tests.fakes.tiny_study import data_folder, tiny_plan


@cache
def _images() -> Tensor:
    images: Tensor = build("datasets", tiny_plan().dataset).unlabelled(data_folder())
    return images


@pytest.fixture
def make_trainer() -> Callable[[Mapping[str, Any]], Trainer]:
    """Builds a trainer at step 0 from the hashed part of a spec."""

    def make(training: Mapping[str, Any]) -> Trainer:
        set_numerics(training["numerics"])
        return build_trainer(training, build_network(training), _images(), torch.device("cpu"))

    return make


@pytest.fixture
def train() -> Callable[..., list[StepRecord]]:
    """Trains up to a step, or to the end, and returns what was measured."""

    def up_to(trainer: Trainer, step: int | None = None) -> list[StepRecord]:
        stop = trainer.run(flush_every=4, must_stop=lambda: trainer.step == step)
        return [record for records in stop for record in records]

    return up_to
