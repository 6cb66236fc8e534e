"""All datasets of a plan are looked for at once, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import DataError
from study.orchestration.data import locate_data
from study.paths import HomePaths
from tests.fakes.tiny_datasets import write_folders
from tests.fakes.tiny_study import data_folder, tiny_plan

_FOLDERS = "{name: image_folder, num_ssl_images: 6, num_validation_images: 3, num_classes: 3, image_size: 8}"


def evaluations_with(dataset: str) -> str:
    knn, far = "{num_neighbours: 1}", f"{{evaluation: knn, num_neighbours: 1, dataset: {dataset}}}"
    return f"evaluations={{knn: {knn}, far: {far}, linear_probe: {{label_percent: [100]}}}}"


def test_folders_of_evaluations_are_found_and_all_that_lack_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, overrides = HomePaths(tmp_path / "home"), f"dataset={_FOLDERS}"
    base = ("base.backbone=resnet18", "base.batch_size=2", "continuation.batch_size=2", "augmentation=photographs")
    plan = tiny_plan(overrides, *base, evaluations_with("cifar10"))
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        locate_data(plan, home)
    assert "evaluation far: " in str(caught.value) and str(caught.value).index("CIFAR-10") > 0
    assert not str(caught.value).startswith("evaluation far"), "the plan's own is named first"
    same = tiny_plan(overrides, *base, evaluations_with(_FOLDERS))
    write_folders(tmp_path / "train", ("ant", "bee", "cat"), 5, ".png", seed=1)
    write_folders(tmp_path / "val", ("ant", "bee", "cat"), 2, ".png", seed=2)
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    found = locate_data(same, home)
    assert found.evaluations == {"far": found.training}


def test_a_plan_without_others_has_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_DATA", str(data_folder()))
    found = locate_data(tiny_plan(), HomePaths(tmp_path))
    assert found.training == data_folder() and not found.evaluations
