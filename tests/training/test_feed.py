"""Batches from files: equal to what is cut by hand, in order, the same wherever a run is stopped, without leaks."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.datasets.folder import pil_loader
from torchvision.transforms.v2 import functional as vision

from study.augmentations.base import Augmentation
from study.augmentations.photographs import Photographs
from study.augmentations.small_images import SmallImages
from study.datasets._originals import Originals
from study.datasets.base import Split
from study.datasets.image_folder import ImageFolder
from study.errors import DataError, UserError
from study.paths import HomePaths
from study.plan.expand import base_spec
from study.tensors.crops import Crops
from study.tensors.streams import stream
from study.training.assemble import build_network, build_trainer, set_numerics
from study.training.checkpoint import load_checkpoint, save_checkpoint
from study.training.feed import Feed
from study.training.loop import StepRecord, Trainer
from study.training.pairing import epoch_order, stream_keys, view_keys
from study.training.team import Team
from study.worker.entry import run_attempt
from tests.fakes import tiny_datasets
from tests.fakes.tiny_study import Nowhere, events_of, submit, tiny_plan

_CPU = torch.device("cpu")
_SETTINGS = {"num_classes": 2, "num_ssl_images": 24, "num_validation_images": 4, "image_size": 28}
_DATASET = ImageFolder(**_SETTINGS, crops_from="originals")
_PLAN = tiny_plan(
    f"dataset={{name: image_folder, crops_from: originals, {', '.join(f'{k}: {v}' for k, v in _SETTINGS.items())}}}",
    "augmentation={name: photographs}", "base.epochs=2", "base.batch_size=6", "continuation.batch_size=6",
)  # fmt: skip
_TRAINING: Mapping[str, Any] = base_spec(_PLAN, 1).training
_NUM_STEPS = 8
_AUGMENTATION = Photographs(num_local_views=1, local_size=12)
_PLACES = [(epoch, index, torch.arange(6 * index, 6 * index + 6)) for epoch in (0, 1) for index in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    tiny_datasets.write_folders(root / "train", ("ant", "bee"), 14, ".jpg", seed=1)
    tiny_datasets.write_folders(root / "val", ("ant", "bee"), 2, ".jpg", seed=2)
    return root


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[Path, Path]:
    """A folder in which one file of the TRAIN split is cut short, and that file."""
    tiny_datasets.write_folders(tmp_path / "train", ("ant", "bee"), 14, ".jpg", seed=1)
    tiny_datasets.write_folders(tmp_path / "val", ("ant", "bee"), 2, ".jpg", seed=2)
    file = _DATASET.files(tmp_path, Split.TRAIN).paths()[20]
    file.write_bytes(file.read_bytes()[:400])
    return tmp_path, file


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not _threads()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


def _feed(folder: Path, augmentation: Augmentation = _AUGMENTATION, dataset: ImageFolder = _DATASET) -> Feed:
    return Feed(dataset.unlabelled(folder), augmentation, _CPU, ("test",), 6)


def _trainer(folder: Path) -> Trainer:
    set_numerics(_TRAINING["numerics"])
    return build_trainer(_TRAINING, build_network(_TRAINING), _DATASET.unlabelled(folder), _CPU)


def _train(trainer: Trainer, until: int | None = None) -> list[StepRecord]:
    records = trainer.run(flush_every=3, must_stop=lambda: trainer.step == until)
    return [record for some in records for record in some]


def test_views_are_crops_of_the_files_with_the_colours_of_the_augmentation(folder: Path) -> None:
    paths = _DATASET.files(folder, Split.TRAIN).paths()
    for batch, (epoch, index, rows) in zip(_feed(folder).batches(_PLACES), _PLACES, strict=True):
        assert (batch.epoch, batch.index) == (epoch, index) and len(batch.views) == 3
        for view, seen in enumerate(batch.views):
            keys = view_keys(("test",), epoch, index, view)
            crops, cut = _AUGMENTATION.crops(6, 28, stream(*keys), view), []
            for i, row in enumerate(rows.tolist()):
                image, crop = pil_loader(str(paths[row])), crops[i]
                piece = vision.resized_crop(image, *crop.box(*image.size), list(crop.size), antialias=True)
                cut.append(vision.pil_to_tensor(vision.horizontal_flip(piece) if crop.is_flipped else piece))
            assert torch.equal(seen, _AUGMENTATION.photometry(torch.stack(cut), stream(*keys), view))
            assert seen.is_contiguous(memory_format=torch.channels_last)


def test_crop_and_photometry_are_what_the_augmentation_does_at_once() -> None:
    """On images that fill the crop, and with the stream of a view that is drawn in one go."""
    whole = Photographs(crop_area=(1, 1), crop_ratio=(1, 1), flip_probability=0)
    images = torch.randint(0, 256, (6, 3, 28, 28), dtype=torch.uint8, generator=stream("images"))
    for view in (0, 1):
        expected = whole(images, stream("view"), view)
        torch.testing.assert_close(whole.photometry(images, stream("view"), view), expected, rtol=0, atol=1e-4)


def test_two_processes_see_the_rows_that_one_would_see(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [batch.views for batch in _feed(folder).batches(_PLACES)]
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(Team, "current", lambda rank=rank: Team(rank, 2))
        parts.append([batch.views for batch in _feed(folder).batches(_PLACES)])
    for views, first, second in zip(whole, *parts, strict=True):
        for view, *halves in zip(views, first, second, strict=True):
            torch.testing.assert_close(torch.cat(halves), view, rtol=0, atol=1e-6)


class Placed(Photographs):
    """Notes in which thread it runs, and draws from a global generator if told to."""

    threads: ClassVar[set[threading.Thread]] = set()
    draw: ClassVar[Callable[[], object]] = staticmethod(lambda: None)

    def crops(self, *arguments: Any) -> Crops:
        self.threads.add(threading.current_thread())
        return super().crops(*arguments)

    def photometry(self, *arguments: Any) -> Tensor:
        self.threads.add(threading.current_thread())
        self.draw()
        return super().photometry(*arguments)


def test_augmentations_run_in_the_main_thread_which_the_global_generators_belong_to(folder: Path) -> None:
    assert len(list(_feed(folder, Placed()).batches(_PLACES))) == len(_PLACES)
    assert Placed.threads == {threading.main_thread()}


@pytest.mark.parametrize(("draw", "name"), [(random.random, "Python's `random`"), (np.random.rand, "numpy's")])
def test_several_processes_refuse_draws_from_global_generators(
    folder: Path, monkeypatch: pytest.MonkeyPatch, draw: Callable[[], float], name: str
) -> None:
    """Each would draw the same numbers for other images; one process may."""
    monkeypatch.setattr(Placed, "draw", staticmethod(draw))
    assert len(list(_feed(folder, Placed()).batches(_PLACES))) == len(_PLACES)
    monkeypatch.setattr(Team, "current", lambda: Team(0, 2))
    with pytest.raises(
        UserError, match=rf"augmentation Placed draws from {name}.*: 2 processes cannot see .*generator"
    ):
        next(_feed(folder, Placed()).batches(_PLACES))


def test_decoding_that_draws_from_a_global_generator_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Originals.read
    monkeypatch.setattr(Originals, "read", lambda self, row, into: (random.random(), read(self, row, into)))
    with pytest.raises(UserError, match=r"Originals draws from Python's `random` while it decodes an image"):
        next(_feed(folder).batches(_PLACES))


def test_batches_know_their_rows(folder: Path) -> None:
    for batch, (_, _, rows) in zip(_feed(folder).batches(_PLACES), _PLACES, strict=True):
        assert torch.equal(batch.rows, rows)


def test_an_augmentation_without_crops_sees_the_squares(folder: Path) -> None:
    kept = ImageFolder(**_SETTINGS)
    ours, expected = (_feed(folder, SmallImages(), dataset).batches(_PLACES) for dataset in (_DATASET, kept))
    for batch, from_memory in zip(ours, expected, strict=True):
        assert all(map(torch.equal, batch.views, from_memory.views))
        assert from_memory.metrics == {}


def test_two_batches_are_begun_ahead_and_no_more(folder: Path) -> None:
    asked: list[int] = []

    def places() -> Iterator[tuple[int, int, Tensor]]:
        for i, place in enumerate(_PLACES):
            asked.append(i)
            yield place

    batches = _feed(folder).batches(places())
    for i, batch in enumerate(batches):
        assert asked == list(range(min(i + 3, len(_PLACES))))
        assert 0 <= batch.metrics["train/data_wait_share"] <= 1
        assert batch.metrics["train/data_wait_s"] >= 0


def test_stopping_anywhere_changes_nothing(folder: Path, tmp_path: Path) -> None:
    whole = _trainer(folder)
    expected = _metrics(_train(whole))
    assert whole.is_done and [step for step, _ in expected] == list(range(1, _NUM_STEPS + 1))
    for stop in (1, 4, 6):  # 4 ends an epoch
        first, second = _trainer(folder), _trainer(folder)
        before = _train(first, stop)
        assert first.step == stop and not _threads()
        save_checkpoint(tmp_path / "checkpoint.pt", first.state())
        second.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
        assert _metrics(before + _train(second)) == expected
        for name, weight in second.network.state_dict().items():
            assert torch.equal(weight, whole.network.state_dict()[name]), name
        assert second.pairing() == whole.pairing(), "batches that were begun ahead were not seen"


def _metrics(records: list[StepRecord]) -> list[tuple[int, dict[str, float]]]:
    """All but times, which are there."""
    assert all(0 <= record.metrics["train/data_wait_share"] <= 1 for record in records)
    return [
        (record.step, {name: value for name, value in record.metrics.items() if "data_wait" not in name})
        for record in records
    ]


def test_threads_end_with_whoever_leaves_early(folder: Path) -> None:
    batches = _feed(folder).batches(_PLACES)
    next(batches)
    assert _threads()
    batches.close()
    assert not _threads()

    trainer = _trainer(folder)
    with pytest.raises(ZeroDivisionError):
        _train_and_fail(trainer)
    assert not _threads()


def _train_and_fail(trainer: Trainer) -> None:
    trainer.network.register_forward_pre_hook(lambda *_: 1 / 0)
    _train(trainer)


def test_a_damaged_file_ends_the_training_where_its_batch_comes(damaged: tuple[Path, Path]) -> None:
    folder, file = damaged
    batches, seen = _feed(folder).batches(_PLACES), []
    with pytest.raises(DataError, match=rf"{file}: cannot be decoded \(.*\); fetch it again, or take it out"):
        seen += batches
    assert not _threads()
    batches = _feed(folder).batches(_PLACES)
    assert [next(batches).index for _ in range(3)] == [0, 1, 2]  # row 20 is in the fourth
    with pytest.raises(DataError):
        next(batches)


@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_damaged_file_fails_the_run(num_processes: int, damaged: tuple[Path, Path], tmp_path: Path) -> None:
    """Also when it was another process than rank 0 that met it."""
    folder, file = damaged
    spec = base_spec(_PLAN, _seed_whose_second_half_meets(20))
    home = HomePaths(tmp_path / "home")
    attempt = submit(home, spec, Nowhere(), folder=folder, num_processes=num_processes)
    assert run_attempt(str(attempt.root)) == 1
    event = events_of(attempt)[-1]
    assert (event["event"], event["kind"], event["traceback"]) == ("failed", "data", None)
    assert event["message"].startswith(f"{file}: cannot be decoded")


def _seed_whose_second_half_meets(row: int) -> int:
    """A base seed for which an image is in the half of rank 1, when it comes for the first time."""
    for seed in range(1, 20):
        order = epoch_order(stream_keys(base_spec(_PLAN, seed).training), 0, 24).tolist()
        if order.index(row) % 6 >= 3:
            return seed
    raise AssertionError
