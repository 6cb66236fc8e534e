"""The sweeps at the paper's scale, on few images: the real ResNet-50 and heads, the authors' layouts, two processes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from study.datasets.base import Dataset, Split
from study.execution.local import LocalExecutor
from study.journal.files import read_json
from study.paths import AttemptPaths, HomePaths
from study.plan.components import build
from study.plan.expand import base_spec, required_evaluations, run_spec
from study.plan.load import load_plan
from study.plan.model import Phase, Plan
from study.plan.spec import EvaluationRequest, RunSpec
from tests.fakes import published_checkpoints as published
from tests.fakes.tiny_datasets import WORDNET, write_imagenet, write_inaturalist
from tests.fakes.tiny_study import events_of, submit, wait_for_end

_SWEEPS = Path(__file__).parents[2] / "sweeps"
_SPECIES = "{name: inaturalist2018, num_classes: 3, num_ssl_images: 12, num_validation_images: 6, image_size: 64}"
_DATASET = (
    "dataset={name: imagenet, num_classes: 4, num_ssl_images: 8, num_validation_images: 8, image_size: 64, "
    "label_lists: [[50, LIST]]}"
)
_OVERRIDES = (
    "continuation.epochs=1", "continuation.batch_size=8", "numerics.num_threads=1",
    "evaluations.linear_probe.label_percent=[100]", "evaluations.knn.num_neighbours=5",
    "evaluations.fine_tuning.label_percent=[50]", "evaluations.fine_tuning.epochs=1",
    "evaluations.fine_tuning.batch_size=8", "evaluations.inat18.label_percent=[100]",
    f"evaluations.inat18.dataset={_SPECIES}", "tune=none",
)  # fmt: skip
_LIMIT_GB = 6.0


def checkpoint(name: str, path: Path) -> Path:
    """A file in the layout of the published one, with all its widths."""
    torch.manual_seed(0)
    backbone = published.resnet()
    match name:
        case "swav":
            return published.save_swav(path, published.scrambled(published.SwAVModel(backbone), 1))
        case "vicreg":
            model: nn.Module = published.scrambled(published.VICRegModel(backbone), 1)
            return published.save_lars(path, model, [list(model.parameters())])
        case _:
            simsiam = published.SimSiamModel(backbone)
            published.scrambled(simsiam, 1)
            with torch.no_grad():
                simsiam.encoder.fc[6].bias.zero_()
            return published.save_simsiam(path, simsiam)


class Peak:
    """The largest memory of this process's descendants, proportional for pages that they share, in GB."""

    def __init__(self) -> None:
        self.gb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.is_set():
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    total += process.memory_full_info().pss
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            self.gb = max(self.gb, total / 1e9)
            time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swav", "vicreg", "simsiam"])
def test_a_step_and_every_evaluation_of_the_real_network_by_two_processes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    folder = write_imagenet(tmp_path / "imagenet", per_class=4)
    (tmp_path / "50percent.txt").write_text("".join(f"{wordnet}_0.JPEG\n" for wordnet in WORDNET))
    dataset = _DATASET.replace("LIST", str(tmp_path / "50percent.txt"))
    file = checkpoint(name, tmp_path / "published.pth")
    small = () if name != "swav" else ("augmentation.local_size=32",)
    text = (_SWEEPS / f"imagenet_{name}.yaml").read_text()
    first = load_plan(text, name).evaluations[2].params
    rates = [f"evaluations.fine_tuning.{key}=[{first[key][1]}]" for key in ("trunk_lr", "head_lr")]
    plan = load_plan(text, name, (dataset, *_OVERRIDES, *rates, *small, f"base.checkpoint={file}"))
    home = HomePaths(tmp_path / "home")
    executor = LocalExecutor(2)
    try:
        with Peak() as peak:
            base = finished(home, base_spec(plan, 1), executor, folder)
            trained = continued(plan, "e2mc")
            evaluations = required_evaluations(plan, Phase.CONFIRM)
            far = {"inat18": write_inaturalist(tmp_path / "inaturalist2018")}
            attempt = finished(home, trained, executor, folder, evaluations, num_processes=2, far=far)
    finally:
        executor.close()
    (imported,) = events_of(base, "imported")
    assert imported["report"].startswith(f"{name}: all 318 tensors of resnet50")
    (step,) = events_of(attempt, "step")
    assert step["metrics"]["train/gradient_ratio"] > 0
    assert read_json(attempt.trained)["weights_sha256"] != read_json(base.trained)["weights_sha256"]
    for evaluation, metric in (
        ("linear_probe", "top1_mean"), ("knn", "top1"), ("fine_tuning", "top1_50pct"), ("inat18", "top1_100pct"),
    ):  # fmt: skip
        (result,) = attempt.run.evaluations.glob(f"{evaluation}-test-*.json")
        assert 0 <= read_json(result)["metrics"][metric] <= 100
    (tuned,) = attempt.run.evaluations.glob("fine_tuning-test-*.json")
    assert read_json(tuned)["labels_sha256"] == of_list(build("datasets", plan.dataset), folder)
    print(f"{name}: peak {peak.gb:.2f} GB")
    assert 0 < peak.gb < _LIMIT_GB


def of_list(dataset: Dataset, folder: Path) -> str:
    """Hash of the labelled pool and of the listed images, as results have it."""
    ((_, rows),) = dataset.label_lists_in(folder).items()
    assert len(rows) == 4
    pool = dataset.labelled(folder, Split.TRAIN).labels.numpy()
    return hashlib.sha256(pool.astype("<i8").tobytes() + rows.astype("<i8").tobytes() + b"/").hexdigest()


def continued(plan: Plan, arm: str) -> RunSpec:
    return run_spec(plan, plan.arm(arm), {}, 1, 1, Phase.CONFIRM)


def finished(
    home: HomePaths, spec: RunSpec, executor: LocalExecutor, folder: Path,
    evaluations: tuple[EvaluationRequest, ...] = (), num_processes: int = 1, far: Mapping[str, Path] | None = None,
) -> AttemptPaths:  # fmt: skip
    attempt = submit(
        home,
        spec,
        executor,
        evaluations=evaluations,
        folder=folder,
        num_processes=num_processes,
        evaluation_folders=far,
    )
    assert wait_for_end(attempt, 600) == "finished", events_of(attempt)[-1]
    return attempt
