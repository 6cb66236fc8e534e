"""A published checkpoint is the base of a whole study: imported once, continued with several seeds, found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from study.cli import run_sweep
from study.journal.files import read_json
from study.paths import HomePaths, RunPaths
from tests.fakes.command import Command
from tests.fakes.published_checkpoints import SwAVModel, resnet, save_swav, scrambled
from tests.fakes.tiny_datasets import write_folders
from tests.fakes.tiny_study import events_of

_ROOT = Path(__file__).parents[2]
_SWEEP = """\
study: imported
dataset: {name: image_folder, num_ssl_images: 16, num_validation_images: 8, num_classes: 2, image_size: 32}
base:
  method: {name: swav, hidden_dim: 24, projection_dim: 16, num_prototypes: 10}
  backbone: resnet18
  checkpoint: swav.pth.tar
  family: swav
continuation: {epochs: 1, batch_size: 8, optimizer: {name: sgd, lr: 0.01}}
arms:
  base:       {continue: false}
  continued:  {criterion: none}
  uniformity: {criterion: uniformity, strength: 0.2}
reference: continued
unit: continuation
contrasts: [[uniformity, continued]]
evaluations: {knn: {num_neighbours: 5}}
primary: knn/top1
tune: none
confirm: {base_seeds: [1], continuation_seeds: [1, 2]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, a checkpoint in SwAV's layout, and a sweep file about them."""
    folder = tmp_path_factory.mktemp("imported")
    for part, per_class in (("train", 12), ("val", 4)):
        write_folders(folder / "data" / part, ("ant", "bee"), per_class, ".jpg", seed=1)
    torch.manual_seed(0)
    save_swav(folder / "swav.pth.tar", scrambled(SwAVModel(resnet("resnet18"), 24, 16, 10), 3))
    (folder / "sweep.yaml").write_text(_SWEEP)
    return folder


def start(folder: Path, store: str, home: Path, *arguments: str) -> Command:
    """The command in the folder of the checkpoint, to its end."""
    environment = {
        "PYTHONPATH": str(_ROOT), "STUDY_DATA": str(folder / "data"), "STUDY_CACHE": str(folder / "cache"),
        "MLFLOW_TRACKING_URI": store,
    }  # fmt: skip
    log = folder / f"{len(list(folder.glob('*.txt')))}.txt"
    script = _ROOT / "study" / "run_sweep.py"
    command = Command([script, folder / "sweep.yaml", "--home", home, *arguments], log, environment)
    command.wait()
    return command


@pytest.mark.slow
def test_a_checkpoint_is_imported_once_and_continued_with_several_seeds(folder: Path, store: str) -> None:
    home = folder / "home"
    first = start(folder, store, home)
    assert first.wait() == 0, first.output
    sha256 = hashlib.sha256((folder / "swav.pth.tar").read_bytes()).hexdigest()
    assert f"sha256: {sha256}" in first.output

    (base,) = map(RunPaths, HomePaths(home).bases.iterdir())
    (event,) = events_of(base.attempt(1), "imported")
    assert event["sha256"] == sha256 and event["report"].startswith("swav: all 120 tensors of resnet18")
    published = torch.load(folder / "swav.pth.tar")
    imported = load_file(base.weights)
    for theirs, ours in (("conv1.weight", "backbone.conv1.weight"), ("prototypes.weight", "prototypes.weight")):
        np.testing.assert_array_equal(imported[ours], published[f"module.{theirs}"])

    runs = {run.root.name.rsplit("-", 1)[0]: run for run in HomePaths(home).study("imported").existing_runs()}
    assert sorted(runs) == [f"{arm}-b1-c{seed}" for arm in ("base", "continued", "uniformity") for seed in (1, 2)]
    hashes = {name: read_json(run.trained)["paired"] for name, run in runs.items()}
    assert {h["base_weights"] for h in hashes.values()} == {read_json(base.trained)["weights_sha256"]}
    assert hashes["continued-b1-c1"] == hashes["uniformity-b1-c1"] != hashes["continued-b1-c2"]
    assert read_json(runs["continued-b1-c1"].trained)["step"] == 2

    # The hash in the file and another place are the same study; nothing is done again, not even without the file.
    before = {path: path.stat().st_mtime_ns for path in home.rglob("trained.json")}
    (folder / "swav.pth.tar").rename(folder / "moved.pth.tar")
    again = start(folder, store, home, f"base.sha256={sha256}", "base.checkpoint=gone.pth.tar")
    (folder / "moved.pth.tar").rename(folder / "swav.pth.tar")
    assert again.wait() == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in home.rglob("trained.json")} == before


def test_a_refused_start_leaves_nothing_behind_and_its_advice_is_taken(
    folder: Path, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four mistakes, refused by a rehearsal and a start alike; without them the study of the same name starts."""
    monkeypatch.chdir(folder)
    home, data, sweep = folder / "refused-home", str(folder / "data"), str(folder / "sweep.yaml")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("STUDY_CACHE", str(folder / "cache"))
    for images, override, advice in (
        (
            "/nowhere",
            "study=imported",
            "STUDY_DATA=/nowhere is not a folder; set it to the folder that holds the dataset",
        ),
        (data, "dataset.test_folder=tset", f"{data}: lacks tset"),
        (
            data,
            "dataset.num_classes=3",
            f"{data}/train holds 2 classes, but dataset.num_classes is 3; write num_classes: 2",
        ),
        (data, "base.checkpoint=nowhere.pth", f"{folder / 'nowhere.pth'}: no such file"),
    ):
        monkeypatch.setenv("STUDY_DATA", images)
        said = []
        for more in ([], ["--dry-run"]):
            assert run_sweep([sweep, override, "--home", str(home), *more]) == 2
            said.append(capsys.readouterr().err)
        assert said[0] == said[1] and advice in said[0] and "damaged" not in said[0]
        assert not home.exists()
    right = ("dataset.test_folder=val", "dataset.num_classes=2", "confirm.continuation_seeds=[1]")
    study = start(folder, store, home, *right)
    assert study.wait() == 0, study.output


@pytest.mark.slow
def test_what_does_not_fit_is_said_before_anything_is_trained(folder: Path, store: str) -> None:
    home = folder / "other-home"
    wrong = start(folder, store, home, f"base.sha256={'a' * 64}")
    assert wrong.wait() == 2 and "the file is damaged or another one" in wrong.output, wrong.output
    assert "Traceback" not in wrong.output

    narrow = start(folder, store, home, "study=narrow", "base.method.projection_dim=64")
    assert narrow.wait() == 3, narrow.output
    advice = "projection_dim 16, not 64; write  method: {name: swav, hidden_dim: 24, projection_dim: 16"
    assert advice in narrow.output and "Traceback" not in narrow.output
    assert not list(HomePaths(home).study("narrow").existing_runs())
