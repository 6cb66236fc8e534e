"""All datasets of a plan are looked for at once, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.orchestration.data import DataSearch, FoundData
from study.paths import HomePaths
from study.plan.model import Plan
from tests.fakes.opened import opened_files
from tests.fakes.tiny_datasets import write_folders
from tests.fakes.tiny_study import data_folder, tiny_plan

_FOLDERS = "{name: image_folder, num_ssl_images: 6, num_validation_images: 3, num_classes: 3, image_size: 8}"
_BASE = ("base.backbone=resnet18", "base.batch_size=2", "continuation.batch_size=2", "augmentation=photographs")


def evaluations_with(dataset: str) -> str:
    knn, far = "{num_neighbours: 1}", f"{{evaluation: knn, num_neighbours: 1, dataset: {dataset}}}"
    return f"evaluations={{knn: {knn}, far: {far}, linear_probe: {{label_percent: [100]}}}}"


def plan_with(dataset: str, *overrides: str) -> Plan:
    return tiny_plan(f"dataset={_FOLDERS}", *_BASE, evaluations_with(dataset), *overrides)


def found(plan: Plan, home: Path, *, may_download: bool = True, patience_s: float | None = None) -> FoundData:
    return DataSearch(HomePaths(home), may_download=may_download, patience_s=patience_s).find(plan)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "images"))
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    write_folders(tmp_path / "images" / "train", ("ant", "bee", "cat"), 5, ".png", seed=1)
    write_folders(tmp_path / "images" / "val", ("ant", "bee", "cat"), 2, ".png", seed=2)
    return tmp_path


def test_folders_of_evaluations_are_found_and_all_that_lack_are_named(root: Path) -> None:
    (root / "images" / "val").rename(root / "images" / "test")
    missing = found(plan_with("cifar10"), root / "home")
    own, far = missing.problems
    assert own.startswith("the image folder not found") and far.startswith("evaluation far: CIFAR-10 not found")
    assert missing.folders is None
    (root / "images" / "test").rename(root / "images" / "val")
    there = found(plan_with(_FOLDERS), root / "home")
    assert there.folders is not None and there.folders.evaluations == {"far": there.folders.training}


def test_what_is_wrong_with_the_plans_own_images_is_not_said_again_of_an_evaluation(root: Path) -> None:
    plan = plan_with(_FOLDERS.replace("num_classes: 3", "num_classes: 4"), "dataset.num_classes=4")
    (problem,) = found(plan, root / "home").problems
    assert problem == (
        f"images of STUDY_DATA={root / 'images'}: {root / 'images' / 'train'} holds 3 classes, but dataset.num_classes "
        "is 4; write num_classes: 3"
    )


def test_a_plan_without_others_has_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_DATA", str(data_folder()))
    there = found(tiny_plan(), tmp_path)
    assert there.folders is not None and there.folders.training == data_folder() and not there.folders.evaluations


def test_datasets_that_several_plans_share_are_looked_at_once(root: Path) -> None:
    search = DataSearch(HomePaths(root / "home"), may_download=True)
    first = search.find(plan_with(_FOLDERS))
    with opened_files() as opened:
        assert search.find(plan_with(_FOLDERS, "study=other", "continuation.epochs=2")) == first
    assert not [path for path in opened if "images" in path]


def test_a_glance_says_what_decoded_images_will_take_and_downloads_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(root.rglob("*"))
    glanced = found(plan_with(_FOLDERS), root / "home", may_download=False, patience_s=10.0)
    assert glanced.folders is not None and glanced.room == {root / "cache": 9 * 3 * 8 * 8}
    assert sorted(root.rglob("*")) == before
    found(plan_with(_FOLDERS), root / "home")
    assert not found(plan_with(_FOLDERS), root / "home", may_download=False, patience_s=10.0).room

    monkeypatch.delenv("STUDY_DATA")
    away = found(tiny_plan("dataset=cifar10", *_BASE), root / "home", may_download=False, patience_s=10.0)
    assert away.folders is None and not away.problems
    assert away.notes == (f"CIFAR-10 not found; a start tries to download it into {root / 'home' / 'data'}",)
    by_hand = found(plan_with(_FOLDERS), root / "home", may_download=False, patience_s=10.0)
    assert by_hand.problems[0].startswith("the image folder not found") and not by_hand.notes


def test_notes_about_images_are_passed_on(root: Path) -> None:
    (root / "images" / "train" / "ant" / "notes.txt").touch()
    assert found(plan_with(_FOLDERS), root / "home").notes == (
        f"{root / 'images' / 'train'}: skipped 1 file of other formats (1 .txt), e.g. ['ant/notes.txt']",
    )
