"""Everything that keeps a study from starting is said at once, and nothing is left behind by having looked."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from study.errors import UserError
from study.orchestration.readiness import Readiness, Start, check_start
from study.paths import HomePaths
from study.plan.load import load_plans
from study.plan.model import Plan
from study.plan.site import Site, Slurm
from tests.fakes.published_study import FakeStudy
from tests.fakes.tiny_datasets import write_folders
from tests.fakes.tiny_study import SWEEP, data_folder, tiny_plan

_NUMBERS = "num_ssl_images: 9, num_validation_images: 3, num_classes: 3, image_size: 8"
_FOLDERS = f"{{name: image_folder, test_folder: tset, {_NUMBERS}}}"
_IMPORTED = (
    "base={method: swav, backbone: resnet18, checkpoint: nowhere.pth, family: swav}", "unit=continuation", "tune=none",
    "confirm={base_seeds: [1], continuation_seeds: [1, 2]}", "continuation.batch_size=4", "augmentation=photographs",
    "arms.uniformity={criterion: uniformity, strength: 0.2}", "evaluations={knn: {num_neighbours: 2}}",
    "primary=knn/top1",
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_DATA", str(data_folder()))
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path


def checked(
    root: Path, *plans: Plan, site: Site | None = None, is_rehearsal: bool = False, **more: object
) -> Readiness:
    start = Start(plans or (tiny_plan(),), HomePaths(root / "home"), site or Site(), is_rehearsal=is_rehearsal)
    return check_start(replace(start, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("is_rehearsal", [False, True])
def test_what_is_right_is_ready(root: Path, is_rehearsal: bool) -> None:
    ready = checked(root, is_rehearsal=is_rehearsal)
    ready.require()
    (study,) = ready.studies
    assert study.data is not None and study.data.training == data_folder()
    assert not (root / "home").exists()


@pytest.mark.parametrize("is_rehearsal", [False, True])
def test_everything_that_is_wrong_is_said_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, is_rehearsal: bool
) -> None:
    monkeypatch.setenv("STUDY_DATA", str(root / "images"))
    for part in ("train", "val"):
        write_folders(root / "images" / part, ("ant", "bee", "cat"), 5, ".png", seed=1)
    site = Site(executor="slurm", processes_per_run=3)
    plan = tiny_plan(f"dataset={_FOLDERS}", *_IMPORTED)
    ready = checked(root, plan, site=site, is_rehearsal=is_rehearsal)
    batch, checkpoint, images = ready.problems
    assert batch.startswith("continuation: batch_size 4 cannot be shared by 3 processes")
    assert checkpoint == f"{root / 'nowhere.pth'}: no such file"
    assert images.startswith("the image folder not found") and "lacks tset" in images
    with pytest.raises(UserError, match=r"^3 problems:\n  - continuation: batch_size"):
        ready.require()
    assert not (root / "home").exists()


def test_one_problem_is_said_as_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_DATA", "/nowhere")
    with pytest.raises(UserError, match=r"^STUDY_DATA=/nowhere is not a folder; set it"):
        checked(root).require()


def test_images_are_only_glanced_at_when_something_else_is_wrong(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding for an hour before saying that a file is missing helps little."""
    monkeypatch.setenv("STUDY_DATA", str(root / "images"))
    for part in ("train", "tset"):
        write_folders(root / "images" / part, ("ant", "bee", "cat"), 5, ".png", seed=1)
    plan = tiny_plan(f"dataset={_FOLDERS}", *_IMPORTED)
    assert len(checked(root, plan).problems) == 1 and not (root / "cache").exists()
    trained = ("base.backbone=conv_gap", "base.batch_size=4", *_IMPORTED[2:3], *_IMPORTED[4:])
    assert not checked(root, tiny_plan(f"dataset={_FOLDERS}", *trained)).problems
    assert list((root / "cache").glob("*.uint8"))


def test_blocks_are_checked_before_the_first_starts(root: Path) -> None:
    plans = load_plans(SWEEP, "tiny.yaml", ("blocks={base.batch_size: [50, 48]}",))
    ready = checked(root, *plans, site=Site(processes_per_run=16))
    assert [problem.partition(":")[0] for problem in ready.problems] == ["base", "continuation"]
    assert "base: batch_size 50 cannot be shared by 16" in ready.problems[0] and len(ready.studies) == 2
    assert len([warning for warning in ready.warnings if "2 pairs" in warning]) == 1, "once for all"


def test_a_name_that_is_taken(root: Path) -> None:
    other = tiny_plan("continuation.epochs=3")
    study = FakeStudy(HomePaths(root / "home"), other)
    study.add_run("continued").attempt().steps(1, 8).trained(8)
    (problem,) = checked(root, is_rehearsal=True).problems
    assert "tiny belongs to another plan of the same name" in problem and "+continuation.epochs = 1" in problem


@pytest.mark.parametrize("home", ["file", "file/below", "home/tiny"])
def test_a_home_that_is_none(root: Path, home: str) -> None:
    file = root / home.removesuffix("/below")
    file.parent.mkdir(exist_ok=True)
    file.touch()
    (problem,) = checked(root, home=HomePaths(root / home.removesuffix("/tiny"))).problems
    assert f"{file} is no folder" in problem and "--home DIR" in problem


def test_a_disk_that_is_too_small_for_what_is_left(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    (problem,) = checked(root, is_rehearsal=True).problems
    assert problem.startswith(f"no space left for {root / 'home'}: at least ") and "1 MB free; make room" in problem
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(total=0, free=0))
    assert not checked(root, is_rehearsal=True).problems, "a file system that does not say"


def test_room_for_images_that_blocks_share_is_counted_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_DATA", str(root / "images"))
    for part in ("train", "tset"):
        write_folders(root / "images" / part, ("ant", "bee", "cat"), 5, ".png", seed=1)
    settings = (f"dataset={_FOLDERS}", "base.backbone=conv_gap", "base.batch_size=4", *_IMPORTED[2:3], *_IMPORTED[4:])
    plans = load_plans(SWEEP, "tiny.yaml", (*settings, "blocks={continuation.epochs: [1, 2]}"))
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    (problem,) = checked(root, *plans, is_rehearsal=True).problems
    assert f"{12 * 3 * 8 * 8 / 1000:.1f} kB in {root / 'cache'}" in problem and "STUDY_CACHE" in problem


def test_a_store_that_is_silent_is_a_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    ready = checked(root)
    assert not ready.problems
    (warning,) = [w for w in ready.warnings if "MLflow" in w]
    assert "MLflow does not answer at http://127.0.0.1:9 (" in warning and "Nothing waits for it" in warning


def test_a_checkpoint_whose_hash_is_another(root: Path) -> None:
    (root / "nowhere.pth").write_bytes(b"weights")
    plan = tiny_plan(*_IMPORTED, "dataset=cifar10", f"base.sha256={'a' * 64}")
    problems = checked(root, plan, is_rehearsal=True).problems
    assert any("the file is damaged or another one" in problem for problem in problems)


def test_a_checkpoint_that_is_far_away_is_not_fetched_for_a_rehearsal(root: Path) -> None:
    plan = tiny_plan(*_IMPORTED, "dataset=cifar10", "base.checkpoint=https://127.0.0.1:9/swav.pth")
    ready = checked(root, plan, is_rehearsal=True)
    downloads = root / "home" / "checkpoints" / "downloads"
    assert f"https://127.0.0.1:9/swav.pth is not here yet; a start downloads it into {downloads}" in ready.warnings
    assert not (root / "home").exists() and not any("127.0.0.1:9" in problem for problem in ready.problems)


def test_a_site_without_its_cluster(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    site, file = Site(executor="slurm", slots=3, slurm=Slurm()), root / "site.yaml"
    for is_rehearsal in (False, True):
        ready = checked(root, site=site, site_file=file, is_rehearsal=is_rehearsal)
        assert ready.problems[0].startswith(f"{file} needs SLURM, but its commands are not on $PATH")
        assert str(ready.slots) == f"3 slots (slots of {file})"


def test_a_checkpoint_is_fetched_once_everything_else_is_right(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights"
    monkeypatch.setenv("STUDY_DATA", str(root / "images"))
    for part in ("train", "tset"):
        write_folders(root / "images" / part, ("ant", "bee", "cat"), 5, ".png", seed=1)
    (root / "served").mkdir()
    (root / "served" / "swav.pth").write_bytes(content)
    downloads = root / "home" / "checkpoints" / "downloads"
    with served(root / "served") as address:
        sha256 = hashlib.sha256(content).hexdigest()
        given = (*_IMPORTED, f"dataset={_FOLDERS}", f"base.checkpoint={address}/swav.pth", f"base.sha256={sha256}")
        wrong = checked(root, tiny_plan(*given, "dataset.num_classes=3"), site=Site(processes_per_run=3))
        assert len(wrong.problems) == 1 and not downloads.exists()
        ready = checked(root, tiny_plan(*given))
    ready.require()
    (file,) = downloads.iterdir()
    assert file.read_bytes() == content and not any("not here yet" in warning for warning in ready.warnings)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server of files on this machine; its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
