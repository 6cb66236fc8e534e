"""The linear probe against its objective written out here and minimised by SciPy in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from study.evaluations._labels import draw_labels
from study.evaluations.base import EvaluationTask, Representations
from study.evaluations.linear_probe import LinearProbe, _fitted

Floats = NDArray[np.float64]


def make_task(
    num_train: int = 1000,
    num_held_out: int = 1000,
    dim: int = 16,
    num_classes: int = 5,
    spread: float = 1.5,
    seed: int = 0,
) -> EvaluationTask:
    """Gaussian classes in correlated dimensions of very unequal scale and offset."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(num_classes, dim))
    mixing = generator.normal(size=(dim, dim)) * np.geomspace(1, 30, dim)

    def split(num_images: int) -> Representations:
        labels = generator.permutation(np.arange(num_images) % num_classes)
        features = (centres[labels] + spread * generator.normal(size=(num_images, dim))) @ mixing + 5
        return Representations(features.astype(np.float32), labels)

    return EvaluationTask(split(num_train), split(num_held_out), num_classes, "synthetic", label_seed="3")


def objective(
    flat: Floats, features: Floats, labels: NDArray[np.int64], num_classes: int, decay: float
) -> tuple[float, Floats]:
    """Mean cross-entropy + λ/2·‖W‖² in nats, and its gradient; `flat` is W (num_classes, dim), then b."""
    one_hot = np.eye(num_classes)[labels]
    weight, bias = flat[:-num_classes].reshape(num_classes, -1), flat[-num_classes:]
    logits = features @ weight.T + bias
    log_norm = np.logaddexp.reduce(logits, axis=1)
    loss = np.mean(log_norm - (logits * one_hot).sum(axis=1)) + decay / 2 * (weight**2).sum()
    residual = (np.exp(logits - log_norm[:, None]) - one_hot) / len(labels)
    return float(loss), np.concatenate([(residual.T @ features + decay * weight).ravel(), residual.sum(axis=0)])


def reference_solution(features: Floats, labels: NDArray[np.int64], num_classes: int, decay: float) -> Floats:
    """The minimum, as a flat vector."""
    start = np.zeros(num_classes * (features.shape[1] + 1))
    options = {"maxiter": 10_000, "maxfun": 20_000, "gtol": 1e-9, "ftol": 1e-15}
    arguments = (features, labels, num_classes, decay)
    solution: Floats = minimize(objective, start, arguments, jac=True, method="L-BFGS-B", options=options).x
    return solution


def reference_top1(task: EvaluationTask, percent: int, draw: int, decay: float) -> float:
    chosen = draw_labels(task.train.labels, percent, dataset=task.dataset, label_seed=task.label_seed, draw=draw)
    return reference_top1_of(task, chosen, decay)


def reference_top1_of(task: EvaluationTask, chosen: NDArray[np.int64], decay: float) -> float:
    pool, held_out = task.train.features.astype(np.float64), task.held_out.features.astype(np.float64)
    mean, std = pool.mean(axis=0), pool.std(axis=0)
    flat = reference_solution((pool[chosen] - mean) / std, task.train.labels[chosen], task.num_classes, decay)
    weight, bias = flat[: -task.num_classes].reshape(task.num_classes, -1), flat[-task.num_classes :]
    predicted = ((held_out - mean) / std @ weight.T + bias).argmax(axis=1)
    return 100 * float(np.mean(predicted == task.held_out.labels))


@pytest.mark.parametrize("num_classes", [2, 5])
def test_equals_the_written_out_objective(num_classes: int) -> None:
    """Two classes as well: there scikit-learn penalises the difference of the two weight vectors instead."""
    task = make_task(num_classes=num_classes, spread=2.5)
    probe = LinearProbe(label_percent=(2, 10, 100), num_draws=(3, 2, 1), weight_decay=(0.3, 1e-2, 1e-3))
    metrics = probe(task)
    expected = [
        np.mean([reference_top1(task, 2, draw, 0.3) for draw in range(3)]),
        np.mean([reference_top1(task, 10, draw, 1e-2) for draw in range(2)]),
        reference_top1(task, 100, 0, 1e-3),
    ]
    # 0.1 points = 1 of 1000 held-out images on the boundary of a float32 solve with tolerance 3e-5
    assert [metrics[f"top1_{p}pct"] for p in (2, 10, 100)] == pytest.approx(expected, abs=0.1001)
    assert metrics["top1_mean"] == pytest.approx(np.mean([metrics[f"top1_{p}pct"] for p in (2, 10, 100)]))
    assert 100 / num_classes + 10 < metrics["top1_mean"] < 99, "the task must be neither hopeless nor trivial"


def test_a_published_list_takes_the_place_of_the_draws() -> None:
    task, probe = make_task(spread=2.5), LinearProbe(label_percent=(2, 10), num_draws=(3, 1), weight_decay=(0.3, 1e-2))
    listed = np.flatnonzero(task.train.labels < 3)[:20]  # two of five classes have no label at all
    given = replace(task, label_lists={2: listed}, drawn=[])
    metrics = probe(given)
    probe(task)
    assert len(task.drawn) == 4
    assert [rows.tolist() for rows in given.drawn] == [listed.tolist(), task.drawn[3].tolist()]
    assert metrics["top1_2pct"] == pytest.approx(reference_top1_of(task, listed, 0.3), abs=0.1001)
    assert metrics["top1_10pct"] == probe(task)["top1_10pct"]


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("decay", [1e-1, 1e-3])
@pytest.mark.parametrize("num_images", [60, 1000])
def test_solution_is_the_minimum_of_the_written_out_objective(num_images: int, decay: float, num_classes: int) -> None:
    """Another convention of λ (λ·‖W‖², or a summed loss) would leave a gradient far from zero."""
    task = make_task(num_train=num_images, num_classes=num_classes, spread=2.5)
    features = task.train.features / task.train.features.std(axis=0)
    classifier = _fitted(features, task.train.labels, decay)
    weight, bias = classifier.coef_.astype(np.float64), classifier.intercept_.astype(np.float64)
    if num_classes == 2:  # scikit-learn keeps the difference of the two weight vectors
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    arguments = (features.astype(np.float64), task.train.labels, num_classes, decay)
    loss, gradient = objective(np.concatenate([weight.ravel(), bias]), *arguments)
    assert abs(gradient).max() < 1e-4, "tolerance 3e-5, and what float32 rounds away"
    minimum, _ = objective(reference_solution(*arguments), *arguments)
    assert -1e-9 < loss - minimum < 2e-5, "nats"


def rescaled(task: EvaluationTask, scale: float | NDArray[np.float32], shift: float = 0.0) -> EvaluationTask:
    train, held_out = (
        replace(split, features=(split.features * scale + shift).astype(np.float32))
        for split in (task.train, task.held_out)
    )
    return replace(task, train=train, held_out=held_out)


def test_scale_and_offset_of_the_features_do_not_matter() -> None:
    task = make_task(spread=2.5)
    expected = LinearProbe()(task)
    assert LinearProbe()(rescaled(task, 8.0)) == expected, "powers of two are exact in float32"
    assert LinearProbe()(rescaled(task, 10.0)) == pytest.approx(expected, abs=0.1001)  # 1 of 1000 images
    per_dimension = np.float32(2.0) ** np.arange(-8, 8, dtype=np.float32)
    assert LinearProbe()(rescaled(task, per_dimension)) == expected
    assert LinearProbe()(rescaled(task, 1.0, shift=7.0)) == pytest.approx(expected, abs=0.1001)


def test_more_labels_help_on_separable_classes() -> None:
    metrics = LinearProbe()(make_task(num_train=2000, dim=32, spread=1.0))
    assert metrics["top1_1pct"] < metrics["top1_10pct"] < metrics["top1_100pct"]
    assert metrics["top1_100pct"] > 99


def test_features_without_information_give_chance() -> None:
    task = make_task()
    blank = rescaled(task, 0.0, shift=0.1)
    assert LinearProbe()(blank) == pytest.approx(dict.fromkeys(LinearProbe().metric_names(), 20.0))


def test_draws_are_new_for_every_base_and_dataset() -> None:
    task = make_task(spread=2.5)
    probe = LinearProbe((2,), num_draws=(1,))
    assert probe(task) != probe(replace(task, label_seed="4"))
    assert probe(task) != probe(replace(task, dataset="other"))


@pytest.mark.parametrize(
    ("label_percent", "num_draws", "weight_decay"),
    [((1, 10, 100), (10, 3, 1), (3e-2, 1e-2, 1e-3)), ((1, 50), (10, 1), (3e-2, 1e-3)), ((5,), (3,), (1e-2,))],
)
def test_defaults_follow_the_label_fraction(
    label_percent: tuple[int, ...], num_draws: tuple[int, ...], weight_decay: tuple[float, ...]
) -> None:
    probe = LinearProbe(label_percent)
    assert probe == LinearProbe(label_percent, num_draws, weight_decay)
    assert probe.num_draws == num_draws


def test_metric_names_follow_the_label_fractions() -> None:
    assert LinearProbe((5, 20)).metric_names() == ("top1_5pct", "top1_20pct", "top1_mean")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label_percent": ()}, r"label_percent must hold distinct percentages, at least one, got \(\)"),
        ({"label_percent": (1, 1)}, r"label_percent must hold distinct percentages.*got \(1, 1\)"),
        ({"label_percent": (0,)}, r"label_percent must hold whole numbers in \(0, 100\], got \(0,\)"),
        ({"label_percent": (101,)}, r"label_percent must hold whole numbers in \(0, 100\], got \(101,\)"),
        ({"label_percent": (0.5,)}, r"label_percent must hold whole numbers in \(0, 100\], got \(0.5,\)"),
        (
            {"num_draws": (1, 2)},
            r"num_draws must hold one value per label_percent \(1, 10, 100\), got \(1, 2\)",
        ),
        ({"num_draws": (0, 3, 1)}, "num_draws must hold whole numbers ≥ 1, got 0"),
        (
            {"num_draws": (10, 3, 2)},
            "num_draws must be 1 at 100 %, where every draw is the whole pool, got 2",
        ),
        ({"weight_decay": (1e-3,)}, r"weight_decay must hold one value per label_percent"),
        ({"weight_decay": (1e-3, 0.0, 1e-3)}, "weight_decay must hold finite numbers > 0, got 0.0"),
        ({"weight_decay": (1e-3, float("nan"), 1e-3)}, "weight_decay must hold finite numbers > 0, got nan"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearProbe(**fields)  # type: ignore[arg-type]


def test_fraction_too_small_for_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="1 % of a pool of 300 images is 3 labels, fewer than its 5 classes"):
        LinearProbe()(make_task(num_train=300))
