"""Label draws: balanced, reproducible, new for every base."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from study.evaluations._labels import draw_labels

LABELS: NDArray[np.int64] = np.arange(1000) % 10


def draw(
    percent: int = 5,
    *,
    labels: NDArray[np.int64] = LABELS,
    dataset: str = "d",
    label_seed: str = 1,
    number: int = 0,
) -> NDArray[np.int64]:
    return draw_labels(labels, percent, dataset=dataset, label_seed=label_seed, draw=number)


@pytest.mark.parametrize("percent", [1, 5, 10, 50, 99])
def test_classes_are_balanced(percent: int) -> None:
    chosen = draw(percent)
    assert np.bincount(LABELS[chosen], minlength=10).tolist() == [percent] * 10
    assert len(np.unique(chosen)) == len(chosen)


def test_whole_pool_comes_in_order() -> None:
    assert draw(100).tolist() == list(range(1000))


def test_class_counts_differ_by_at_most_one_when_the_subset_does_not_divide() -> None:
    counts = np.bincount(LABELS[:250][draw(10, labels=LABELS[:250])], minlength=10)
    assert sorted(counts.tolist()) == [2] * 5 + [3] * 5


def test_which_class_gets_the_odd_label_depends_on_the_draw() -> None:
    labels = LABELS[:150]
    drawn = np.concatenate([labels[draw(10, labels=labels, number=n)] for n in range(40)])
    assert np.bincount(drawn, minlength=10).min() > 40


def test_rare_class_is_used_up_and_the_others_share_the_rest() -> None:
    labels = np.repeat([0, 1, 2], [2, 49, 49])
    assert np.bincount(labels[draw(20, labels=labels)]).tolist() == [2, 9, 9]


def test_classes_need_not_be_numbered_without_gaps() -> None:
    labels = LABELS * 7 + 3
    assert draw(5, labels=labels).tolist() == draw(5).tolist()


def test_equal_calls_give_equal_draws_whatever_numpy_drew_before() -> None:
    first = draw()
    np.random.default_rng(0).random(100)
    assert draw().tolist() == first.tolist()


@pytest.mark.parametrize(
    "other", [{"dataset": "e"}, {"label_seed": "2"}, {"number": 1}, {"label_seed": "10", "number": 1}]
)
def test_every_key_changes_the_draw(other: dict[str, int | str]) -> None:
    assert set(draw(**other).tolist()) != set(draw().tolist())  # type: ignore[arg-type]


def test_fractions_are_drawn_independently() -> None:
    assert not set(draw(1).tolist()) <= set(draw(10).tolist())


def test_each_image_is_drawn_equally_often() -> None:
    labels = np.repeat([0, 1], 20)
    counts = np.zeros(40)
    for number in range(1000):
        counts[draw(20, labels=labels, number=number)] += 1
    # 8 of 40 images: binomial(1000, 0.2), standard deviation 12.6; five of them on either side
    assert abs(counts - 200).max() < 63


def test_golden_draw() -> None:
    """Pins the stream: if this changes, every few-label number changes, and stored ones no longer compare."""
    chosen = draw_labels(LABELS, 1, dataset="fashion_mnist", label_seed="1", draw=0)
    assert chosen.tolist() == [69, 250, 253, 267, 272, 295, 398, 404, 466, 731]


def test_too_few_labels_for_all_classes() -> None:
    with pytest.raises(ValueError, match=r"1 % of a pool of 300 images is 3 labels, fewer than its 10 classes"):
        draw(1, labels=LABELS[:300])


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_percentage_out_of_range(percent: int) -> None:
    with pytest.raises(ValueError, match=rf"percent must be in \(0, 100\], got {percent}"):
        draw(percent)
