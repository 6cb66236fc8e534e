"""What makes arms unlike is planted in studies on real images, and the report says what and where; or that all is well.

Workers and report are the real ones. Most run in this process, where a fault can be planted in one arm; one study
is run by the real command, in processes of its own, with an augmentation as users write them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from analysis.report import write_report
from study.evaluations import _labels
from study.journal.files import read_json, write_json
from study.methods.base import MethodNetwork
from study.paths import HomePaths, RunPaths
from study.plan.expand import base_spec, confirm_specs, required_evaluations
from study.plan.load import load_plan
from study.plan.model import Phase, Plan
from study.training import feed
from study.worker.entry import run_attempt
from study.worker.workplace import Workplace
from tests.fakes import tiny_datasets
from tests.fakes.command import Command
from tests.fakes.planted import GLOBAL, OTHER, plant
from tests.fakes.tiny_study import SWEEP, Nowhere, data_folder, submit

_ROOT = Path(__file__).parents[2]
_UNTUNED = SWEEP.replace("tune: {objective: knn/top1, trials_per_arm: 2, base_seeds: [101]}", "tune: none")
_AUDITED = (
    "Pairing audited by hashes of what runs saw, at the one base seed: arms have equal weights before the first step "
    "(3 runs), images in all 4 steps (2 runs), views in 4 of them, the first and the last of every epoch (2 runs), "
    "label draws (3 runs) and evaluated images (3 runs)."
)


_FEW = "{name: image_folder, num_classes: 2, num_ssl_images: 100, num_validation_images: 10, image_size: 28}"


def plan_of(criterion: str = "uniformity", augmentation: str = "small_images", *more: str) -> Plan:
    """Two continued arms and the one that is not, one base, two epochs of two steps."""
    arm = "  uniformity: {criterion: uniformity, start: {weight: 0.5}}"
    text = _UNTUNED.replace(arm, f"  other: {{criterion: {criterion}}}")
    text = text.replace("[[uniformity, continued]]", "[[other, continued]]")
    short = ("dataset.num_ssl_images=100", "continuation.epochs=2", "confirm.base_seeds=[1]")
    evaluations = ("evaluations={linear_probe: {label_percent: [10]}}", "primary=linear_probe/top1_10pct")
    return load_plan(text, "tiny.yaml", (*short, *evaluations, f"augmentation={augmentation}", *more))


def run(folder: Path, plan: Plan, images: Path | None = None) -> dict[str, RunPaths]:
    """Train and evaluate all runs of a study, one after the other; its runs by arm."""
    home, found = HomePaths(folder), dict[str, RunPaths]()
    base = submit(home, base_spec(plan, 1), Nowhere(), folder=images)
    assert run_attempt(str(base.root)) == 0
    evaluations = required_evaluations(plan, Phase.CONFIRM)
    for arm in plan.arms:
        (spec,) = confirm_specs(plan, arm, {})
        attempt = submit(home, spec, Nowhere(), evaluations=evaluations, folder=images)
        assert run_attempt(str(attempt.root)) == 0
        found[arm.name] = attempt.run
    write_json(home.study("tiny").plan, plan.as_json())
    return found


def said(folder: Path) -> str:
    """What the report of a study says of its pairs: in the terminal, in its text and on its page alike."""
    study = HomePaths(folder).study("tiny")
    terminal = " ".join(write_report(study.root).text.split())
    lines = (study.report / "report.md").read_text(encoding="utf-8").replace("\\", "").splitlines()
    begins = ("- Pairing ", "- Not paired: ", "- Compared by ")
    found = [line.removeprefix("- ") for line in lines if line.startswith(begins)]
    page = (study.report / "report.html").read_text(encoding="utf-8")
    assert all(sentence in terminal and sentence.replace("'", "&#39;") in page for sentence in found)
    return " ".join(found)


def check_not_paired(folder: Path, what: str) -> None:
    text = said(folder)
    assert text.startswith(f"Not paired: {what} of other (b1"), text
    assert "audited" not in text and "Compared by hashes of what runs saw" in text
    contrasts = (HomePaths(folder).study("tiny").report / "contrasts.md").read_text(encoding="utf-8")
    assert f"not paired: {what}" in contrasts, "the verdict says it, too"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose augmentation draws from Python's generator, as one of its criteria does."""
    folder = tmp_path_factory.mktemp("paired")
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        runs = run(folder, plan_of("drawing", "{name: brightness, source: python}"))
    ours, theirs = (read_json(runs[arm].trained)["paired"] for arm in ("continued", "other"))
    assert ours == theirs and ours["loaded_weights"] == ours["base_weights"]
    return folder


def test_arms_that_are_paired(paired: Path) -> None:
    assert said(paired) == _AUDITED


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are evaluated at once."""
    root = tmp_path_factory.mktemp("few")
    tiny_datasets.write_folders(root / "train", ("ant", "bee"), 55, ".png", seed=1)
    tiny_datasets.write_folders(root / "val", ("ant", "bee"), 5, ".png", seed=2)
    return root


@pytest.mark.parametrize("source", GLOBAL)
def test_global_generators_that_are_not_seeded(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(feed, "seed_global_generators", lambda *keys: None)
    run(tmp_path, plan_of("drawing", f"{{name: brightness, source: {source}}}", f"dataset={_FEW}"), few)
    check_not_paired(tmp_path, "views")


@pytest.mark.parametrize("source", [*OTHER, "criterion"])
def test_randomness_that_cannot_be_seeded(few: Path, tmp_path: Path, source: str) -> None:
    run(tmp_path, plan_of("drawing", f"{{name: brightness, source: {source}}}", f"dataset={_FEW}"), few)
    check_not_paired(tmp_path, "views")


def test_a_base_weight_that_is_flipped_after_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Workplace.trained_network

    def flipped(self: Workplace, run: RunPaths) -> MethodNetwork:
        network = loaded(self, run)
        if self.spec.labels.get("arm") == "other" and run.root == self.base.root:
            next(network.parameters()).data.view(-1).view(torch.int32)[3] ^= 1
        return network

    monkeypatch.setattr(Workplace, "trained_network", flipped)
    run(tmp_path, plan_of())
    check_not_paired(tmp_path, "weights")


def test_label_draws_that_differ_in_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, calls = _labels.draw_labels, list[int]()

    def other(*arguments: Any, **keys: Any) -> NDArray[np.int64]:
        rows = draw(*arguments, **keys)
        calls.append(len(rows))
        unused = np.setdiff1d(np.arange(len(arguments[0])), rows)
        return rows if len(calls) <= 6 else np.sort(np.append(rows[1:], unused[0]))  # of the third arm

    monkeypatch.setattr(_labels, "draw_labels", other)
    run(tmp_path, plan_of())
    assert len(calls) == 9, "three draws an arm, each of them made but once"
    check_not_paired(tmp_path, "label draws")


def old(runs: Iterable[RunPaths]) -> None:
    """Take away what earlier code did not keep."""
    for run_ in runs:
        trained = read_json(run_.trained)
        kept = {k: v for k, v in trained["paired"].items() if k in ("base_weights", "order", "augmentation")}
        _replace(run_.trained, {**trained, "paired": kept})
        for file in run_.evaluations.glob("*.json"):
            _replace(file, {k: v for k, v in read_json(file).items() if k != "images_sha256"})


def _replace(file: Path, content: Mapping[str, Any]) -> None:
    file.unlink()
    write_json(file, content)


def test_a_study_of_earlier_code_is_not_called_audited(paired: Path, tmp_path: Path) -> None:
    home = HomePaths(Path(shutil.copytree(paired, tmp_path / "home")))
    old(home.study("tiny").existing_runs())
    assert said(home.root).startswith(
        "Pairing not audited. All 3 completed confirm runs were trained by earlier code, which"
    )


_OWN = '''
"""Darker images, as code around PIL is written."""

import random
from dataclasses import dataclass

import torch

from study.augmentations.base import Augmentation
from study.tensors.images import to_float


@dataclass(frozen=True)
class Mine(Augmentation):
    is_secret: bool = False

    def __call__(self, images, generator, view=0, part=None):
        draw = random.SystemRandom() if self.is_secret else random
        return to_float(images) * torch.tensor([draw.random() for _ in images])[:, None, None, None]
'''


@pytest.fixture(scope="module")
def own_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of somebody who has written an augmentation."""
    root = tmp_path_factory.mktemp("own") / "tree"
    for folder in ("study", "analysis"):
        shutil.copytree(_ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "study" / "augmentations" / "mine.py").write_text(_OWN, encoding="utf-8")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("is_secret", [False, True])
def test_an_augmentation_of_ones_own_through_the_real_command(
    own_tree: Path, tmp_path: Path, store: str, is_secret: bool
) -> None:
    """Python's generator begins anew in every forked worker; what the system gives cannot be repeated."""
    text = _UNTUNED.replace("start: {weight: 0.5}", "weight: 0.5")
    (tmp_path / "tiny.yaml").write_text(text, encoding="utf-8")
    environment = {
        "PYTHONPATH": str(own_tree), "MLFLOW_TRACKING_URI": store, "STUDY_DATA": str(data_folder()),
        "STUDY_HOME": str(tmp_path / "home"),
    }  # fmt: skip
    overrides = (
        "dataset.num_ssl_images=100", "confirm.base_seeds=[1]", "evaluations={knn: {}}", "primary=knn/top1",
        f"augmentation={{name: mine, is_secret: {str(is_secret).lower()}}}",
    )  # fmt: skip
    arguments = [own_tree / "study" / "run_sweep.py", "tiny.yaml", *overrides]
    command = Command(arguments, tmp_path / "output.txt", environment)
    assert command.wait() == 0, command.output
    text = " ".join(command.output.split())
    if is_secret:
        assert "Not paired: views of uniformity (b1-c1) differ from what other arms with equal seeds have." in text
        assert "audited" not in text
    else:
        assert "Pairing audited by hashes of what runs saw, at the one base seed: arms have equal weights" in text
        assert "images in all 2 steps (2 runs), views in 2 of them" in text
