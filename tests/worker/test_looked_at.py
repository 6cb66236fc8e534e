"""The hashes of an evaluation are those of what it looked at, whatever was evaluated before it in the same process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from study.datasets.base import LabelledImages, Split
from study.evaluations.base import Evaluation, EvaluationTask, Representations
from study.evaluations.embedding_statistics import EmbeddingStatistics
from study.evaluations.fine_tuning import FineTuning
from study.evaluations.knn import KNN
from study.evaluations.linear_probe import LinearProbe
from study.journal.files import read_json
from study.paths import HomePaths
from study.plan.spec import RunSpec
from study.worker.entry import run_attempt
from study.worker.looked_at import Watched, images_sha256, labels_sha256
from study.worker.tasks import Tasks
from study.worker.workplace import Workplace
from tests.fakes.tiny_study import Nowhere, pretraining, submit

IMAGES = torch.arange(40 * 12, dtype=torch.uint8).reshape(40, 3, 2, 2)
LABELS = torch.arange(40) % 3
FEW = FineTuning(label_percent=(10,), trunk_lr=(0.01,), head_lr=(0.1,), epochs=2)
EVALUATIONS: tuple[Evaluation, ...] = (LinearProbe((10, 100)), KNN(), EmbeddingStatistics(8, 4), FEW)


def watched(images: Tensor = IMAGES) -> Watched:
    return Watched.of(LabelledImages(images, LABELS))


def task_of(pool: Tensor = LABELS, held_out: Tensor = LABELS) -> EvaluationTask:
    nothing = np.zeros((40, 0), dtype=np.float32)
    return EvaluationTask(
        Representations(nothing, pool.numpy()), Representations(nothing, held_out.numpy()), 3, "toy", "1"
    )


def digest_after(reads: Callable[[Watched], object], images: Tensor = IMAGES) -> bytes:
    shown = watched(images)
    reads(shown)
    return shown.images.digest()


def test_what_is_read_is_what_is_there() -> None:
    shown = watched()
    assert (len(shown.images), shown.images.shape) == (40, IMAGES.shape)
    assert torch.equal(shown.images[3:9], IMAGES[3:9])
    assert torch.equal(shown.images[torch.tensor([7, 1, 7])], IMAGES[[7, 1, 7]])


def test_the_digest_is_of_rows_and_bytes_as_they_were_read() -> None:
    content = b""
    for rows in ([0, 1, 2], [9, 4]):
        content += np.array(rows, dtype="<i8").tobytes() + b"/" + IMAGES[rows].numpy().tobytes()
    found = digest_after(lambda shown: (shown.images[:3], shown.images[torch.tensor([9, 4])]))
    assert found == hashlib.sha256(content).digest()
    assert found != digest_after(lambda shown: (shown.images[:3], shown.images[torch.tensor([4, 9])]))
    other = IMAGES.clone()
    other[4, 1, 0, 1] += 1
    assert found != digest_after(lambda shown: (shown.images[:3], shown.images[torch.tensor([9, 4])]), other)


def test_of_a_large_split_evenly_spaced_images_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.worker.looked_at._MOST_IMAGES", 10)
    expected = digest_after(lambda shown: shown.images[:])
    for row in (8, 9):
        other = IMAGES.clone()
        other[row] += 1
        assert (digest_after(lambda shown: shown.images[:], other) != expected) is (row % 4 == 0)


def test_reading_on_and_on_costs_no_more_than_looking_at_each_image() -> None:
    """As fine-tuning does for many epochs."""
    once = digest_after(lambda shown: shown.images[:])
    assert digest_after(lambda shown: [shown.images[:] for _ in range(3)]) == once


def test_labels_and_draws_count() -> None:
    task = task_of()
    task.labels_of(np.array([4, 7]))
    pool = LABELS.numpy().astype("<i8").tobytes()
    drawn = np.array([4, 7], dtype="<i8").tobytes() + b"/"
    assert labels_sha256(task) == hashlib.sha256(pool + drawn).hexdigest()
    other = task_of()
    assert other.labels_of(np.array([4, 8])).tolist() == [1, 2]
    assert len({labels_sha256(each) for each in (task, other, task_of(), task_of(pool=LABELS.flip(0)))}) == 4
    shown = [watched()]
    assert images_sha256(task_of(), shown) != images_sha256(task_of(held_out=LABELS.flip(0)), shown)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A base that is trained, as a place to evaluate it."""
    attempt = submit(HomePaths(tmp_path_factory.mktemp("home")), pretraining(1), Nowhere())
    assert run_attempt(str(attempt.root)) == 0
    return Workplace.open(attempt, RunSpec.from_json(read_json(attempt.run.spec)), read_json(attempt.job))


def looked_at(tasks: Tasks, evaluation: Evaluation) -> tuple[str, str]:
    task, shown = tasks.task(evaluation, Split.VALIDATION)
    evaluation(task)
    return labels_sha256(task), images_sha256(task, shown)


def tasks_of(work: Workplace) -> Tasks:
    return Tasks(work, lambda: work.trained_network(work.run), lambda: None)


def test_the_order_of_evaluations_does_not_matter(work: Workplace) -> None:
    together, backwards = tasks_of(work), tasks_of(work)
    found = [looked_at(together, evaluation) for evaluation in EVALUATIONS]
    assert [looked_at(backwards, evaluation) for evaluation in EVALUATIONS[::-1]][::-1] == found
    assert looked_at(tasks_of(work), EVALUATIONS[1]) == found[1]
    (probe, knn, statistics, tuning) = found
    assert probe[1] == knn[1], "both look at all images of both splits"
    assert len({probe[0], knn[0], tuning[0]}) == 3, "other labels"
    assert len({knn[1], statistics[1], tuning[1]}) == 3, "other images"


@pytest.mark.parametrize("row", [3, 250])
def test_one_pixel_of_one_image_is_found(work: Workplace, monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    """Of the held-out split, and of the pool."""
    expected = looked_at(tasks_of(work), KNN())
    cls = type(work.dataset)
    labelled, split = cls.labelled, Split.VALIDATION if row == 3 else Split.TRAIN

    def other(self: object, folder: Path, asked: Split) -> LabelledImages:
        found = labelled(self, folder, asked)  # type: ignore[arg-type]
        images = found.images[:].clone()
        images[row, 0, 14, 14] ^= 8 * (asked is split)
        return LabelledImages(images, found.labels)

    monkeypatch.setattr(cls, "labelled", other)
    found = looked_at(tasks_of(work), KNN())
    assert found[0] == expected[0] and found[1] != expected[1]
