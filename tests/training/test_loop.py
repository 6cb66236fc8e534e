"""Resuming is exact, order and augmentation are functions of seeds, and what leaves the finite numbers is noticed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study import registry
from study.criteria.base import Views
from study.criteria.uniformity import Uniformity
from study.errors import DivergedError
from study.methods.simsiam import SimSiam
from study.plan.model import Phase
from study.training.add_on import AddOn
from study.training.checkpoint import load_checkpoint, save_checkpoint
from study.training.loop import StepRecord, Trainer, backpropagate, check_finite
from tests.fakes.tiny_study import continuation, pretraining, tiny_plan

MakeTrainer = Callable[[Mapping[str, Any]], Trainer]
Train = Callable[..., list[StepRecord]]

EPOCHS, NUM_STEPS = 2, 20


def changed(training: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A spec's training with other values, e.g. `optimizer__lr=1.0`."""
    result = copy.deepcopy(dict(training))
    for name, value in changes.items():
        *path, last = name.split("__")
        target = result
        for key in path:
            target = target[key]
        target[last] = value
    return result


def flattened(state: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested containers."""
    if isinstance(state, Mapping):
        return {k: v for key, value in state.items() for k, v in flattened(value, f"{path}.{key}").items()}
    if isinstance(state, list | tuple):
        return {k: v for i, value in enumerate(state) for k, v in flattened(value, f"{path}[{i}]").items()}
    return {path: state}


def check_equal(a: Trainer, b: Trainer) -> None:
    """Equal to the last bit: weights, buffers, optimiser and step."""
    first, second = flattened(a.state()), flattened(b.state())
    assert first.keys() == second.keys() and len(first) > 20
    for name, value in first.items():
        same = torch.equal(value, second[name]) if isinstance(value, Tensor) else value == second[name]
        assert same, name


def metrics(records: list[StepRecord]) -> list[tuple[int, dict[str, float]]]:
    return [(record.step, dict(record.metrics)) for record in records]


PRETRAINING = pretraining(EPOCHS).training
CONTINUATION = continuation(tiny_plan(f"continuation.epochs={EPOCHS}"), "uniformity").training
MOMENTUM = pretraining(EPOCHS, **{"base.optimizer": "{name: sgd, lr: 0.05, momentum: 0.9}"}).training
LOCAL_VIEWS = {"base.backbone": "conv_gap", "augmentation": "{name: small_images, num_local_views: 2}"}
QUEUE = pretraining(EPOCHS, **LOCAL_VIEWS, **{"base.method": "{name: swav, queue_size: 120}"}).training
TEACHER = pretraining(EPOCHS, **LOCAL_VIEWS, **{"base.method": "dino"}).training


class TestResuming:
    @pytest.fixture(
        params=[
            pytest.param(PRETRAINING, marks=pytest.mark.slow),
            CONTINUATION,
            pytest.param(MOMENTUM, marks=pytest.mark.slow),
            QUEUE,
            TEACHER,
        ],
        ids=["cosine", "criterion", "sgd", "queue and local views", "teacher and local views"],
    )
    def training(self, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        training: Mapping[str, Any] = request.param
        return training

    @pytest.fixture
    def uninterrupted(
        self, training: Mapping[str, Any], make_trainer: MakeTrainer, train: Train
    ) -> tuple[Trainer, list[StepRecord]]:
        trainer = make_trainer(training)
        return trainer, train(trainer)

    def test_stopping_anywhere_changes_nothing(
        self, training: Mapping[str, Any], uninterrupted: tuple[Trainer, list[StepRecord]],
        make_trainer: MakeTrainer, train: Train, tmp_path: Path,
    ) -> None:  # fmt: skip
        whole, records = uninterrupted
        assert whole.is_done and [record.step for record in records] == list(range(1, NUM_STEPS + 1))
        for stop in (3, 10, 20):  # 10 and 20 end an epoch, the other lies within one
            first = make_trainer(training)
            before = train(first, stop)
            assert first.step == stop and first.is_done == (stop == NUM_STEPS)
            save_checkpoint(tmp_path / "checkpoint.pt", first.state())
            del first
            torch.manual_seed(999)  # a new process has other global random numbers
            second = make_trainer(training)
            second.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
            after = train(second)
            assert metrics(before + after) == metrics(records)
            check_equal(second, whole)

    def test_interrupted_at_every_third_step(
        self, training: Mapping[str, Any], uninterrupted: tuple[Trainer, list[StepRecord]],
        make_trainer: MakeTrainer, train: Train, tmp_path: Path,
    ) -> None:  # fmt: skip
        records: list[StepRecord] = []
        trainer = make_trainer(training)
        while not trainer.is_done:
            records += train(trainer, trainer.step + 3)
            save_checkpoint(tmp_path / "checkpoint.pt", trainer.state())
            trainer = make_trainer(training)
            trainer.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
        assert metrics(records) == metrics(uninterrupted[1])
        check_equal(trainer, uninterrupted[0])


def test_records_come_out_when_the_trainer_stands_at_the_newest(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.training.loop._FLUSH_AFTER_S", 1e9)  # steps may be slow on a machine that is shared
    trainer = make_trainer(PRETRAINING)
    for records in trainer.run(flush_every=7, must_stop=lambda: False):
        assert records[-1].step == trainer.step
        assert len(records) == 7 or trainer.step % trainer.schedule.steps_per_epoch == 0, "all of an epoch at its end"


def test_stopping_is_asked_after_every_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(PRETRAINING)
    assert [[r.step for r in records] for records in trainer.run(flush_every=7, must_stop=lambda: True)] == [[1]]


def test_a_trainer_that_is_done_does_nothing(make_trainer: MakeTrainer, train: Train) -> None:
    trainer = make_trainer(PRETRAINING)
    train(trainer)
    assert train(trainer) == [] and trainer.step == NUM_STEPS


def rows_of(trainer: Trainer) -> list[list[int]]:
    """What the steps from the current one to the last are shown."""
    found, start = [], trainer.step
    for _, _, rows in trainer._batches():
        found.append(rows.tolist())
        trainer.step += 1
    trainer.step = start
    return found


class TestOrder:
    def test_an_epoch_sees_every_image_once_and_the_next_in_another_order(self, make_trainer: MakeTrainer) -> None:
        batches = rows_of(make_trainer(PRETRAINING))
        first, second = (list(chain(*half)) for half in (batches[:10], batches[10:]))
        assert sorted(first) == sorted(second) == list(range(500))
        assert first != second

    def test_an_incomplete_batch_is_dropped(self, make_trainer: MakeTrainer) -> None:
        batches = rows_of(make_trainer(changed(PRETRAINING, batch_size=150)))
        assert [len(rows) for rows in batches] == [150] * 6

    def test_seeds_decide(self, make_trainer: MakeTrainer) -> None:
        variants = [
            PRETRAINING,
            changed(PRETRAINING, seeds__base=2),
            CONTINUATION,
            changed(CONTINUATION, seeds__base=2),
            changed(CONTINUATION, seeds__continuation=2),
        ]
        orders = [rows_of(make_trainer(training)) for training in variants]
        assert all(a != b for i, a in enumerate(orders) for b in orders[:i])

    def test_resuming_continues_the_order(self, make_trainer: MakeTrainer) -> None:
        trainer = make_trainer(PRETRAINING)
        whole = rows_of(trainer)
        for step in (0, 1, 9, 10, 11, 19, 20):
            trainer.step = step
            assert rows_of(trainer) == whole[step:]


class Recorder:
    """Keeps what a network is shown."""

    def __init__(self, trainer: Trainer) -> None:
        self.views: list[Tensor] = []
        trainer.network.register_forward_pre_hook(lambda _, inputs: self.views.append(torch.stack(inputs[0]).clone()))


class TestAugmentation:
    def views(self, make_trainer: MakeTrainer, train: Train, training: Mapping[str, Any]) -> list[Tensor]:
        trainer = make_trainer(training)
        recorder = Recorder(trainer)
        train(trainer)
        return recorder.views

    def test_arms_see_the_same_views(self, make_trainer: MakeTrainer, train: Train) -> None:
        plan = tiny_plan()
        none, other = (
            self.views(make_trainer, train, continuation(plan, arm).training) for arm in ("continued", "uniformity")
        )
        tuned = continuation(plan, "continued").training
        faster = self.views(make_trainer, train, changed(tuned, optimizer__lr=0.01))
        assert len(none) == 10
        assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(none, other, faster, strict=True))

    def test_epochs_seeds_and_views_differ(self, make_trainer: MakeTrainer, train: Train) -> None:
        """Even the same image looks different whenever it is shown."""
        shown = self.views(make_trainer, train, PRETRAINING)
        order = rows_of(make_trainer(PRETRAINING))
        first, second = (torch.cat([v[0] for v in shown[i : i + 10]]) for i in (0, 10))
        rows = [torch.tensor(list(chain(*order[i : i + 10]))).argsort() for i in (0, 10)]
        assert not (first[rows[0]] == second[rows[1]]).flatten(1).all(dim=1).any()
        assert all((v[0] != v[1]).flatten(1).any(dim=1).all() for v in shown)
        other = self.views(make_trainer, train, changed(PRETRAINING, seeds__base=2))
        assert not any(torch.equal(a, b) for a, b in zip(shown, other, strict=True))


def criterion_of(name: str, strength: float | None = None, **params: Any) -> dict[str, Any]:
    """The `criterion` of a spec's training, defaults filled in."""
    settings = {f.name: f.default for f in dataclasses.fields(registry.component("criteria", name))}
    return {"name": name, "params": {**settings, **params}, "strength": strength}


@pytest.mark.parametrize("name", [name for name in registry.names("criteria") if name != "none"])
def test_weight_zero_is_no_criterion_to_the_last_bit(make_trainer: MakeTrainer, train: Train, name: str) -> None:
    weights = [f.name for f in dataclasses.fields(registry.component("criteria", name)) if f.name.endswith("weight")]
    none = make_trainer(changed(CONTINUATION, criterion=criterion_of("none")))
    zero = make_trainer(changed(CONTINUATION, criterion=criterion_of(name, **dict.fromkeys(weights, 0.0))))
    watched = ("train/loss", "train/gradient_ratio", "train/projections/entropy_mean")
    seen = [[[r.metrics[key] for key in watched] for r in train(trainer, 5)] for trainer in (none, zero)]
    check_equal(none, zero)
    assert seen[0] == seen[1]


class TestStrength:
    """The scale is found on the first batch, is kept, and survives an interruption."""

    def test_the_ratio_at_the_first_step_is_the_strength(self, make_trainer: MakeTrainer, train: Train) -> None:
        for name in ("e2mc", "mmcr", "koleo"):
            records = train(make_trainer(changed(CONTINUATION, criterion=criterion_of(name, 0.25))))
            assert records[0].metrics["train/gradient_ratio"] == pytest.approx(0.25, rel=1e-4)
            assert len({record.metrics["train/criterion_scale"] for record in records}) == 1
            assert len({record.metrics["train/gradient_ratio"] for record in records}) > 1

    def test_weights_do_not_matter_then(self, make_trainer: MakeTrainer, train: Train) -> None:
        few, many = (
            make_trainer(changed(CONTINUATION, criterion=criterion_of("uniformity", 0.25, weight=weight)))
            for weight in (0.5, 2.0)
        )
        for trainer in (few, many):
            train(trainer, 3)
        for name, weight in few.network.state_dict().items():
            torch.testing.assert_close(weight, many.network.state_dict()[name], rtol=1e-4, atol=1e-5)

    def test_a_resumed_run_keeps_the_scale(self, make_trainer: MakeTrainer, train: Train, tmp_path: Path) -> None:
        training = changed(CONTINUATION, criterion=criterion_of("mmcr", 0.5))
        whole, first, second = (make_trainer(training) for _ in range(3))
        expected = train(whole)
        before = train(first, 4)
        save_checkpoint(tmp_path / "checkpoint.pt", first.state())
        second.load_state(load_checkpoint(tmp_path / "checkpoint.pt"))
        assert metrics(before + train(second)) == metrics(expected)
        check_equal(second, whole)


def test_the_gradient_ratio_is_that_of_the_two_losses_alone(make_trainer: MakeTrainer, train: Train) -> None:
    """Against two backward passes of one network on the same views."""
    trainer = make_trainer(CONTINUATION)
    (record,) = train(trainer, 1)
    again = make_trainer(CONTINUATION)
    views = next(again._feed.batches(again._batches())).views
    output = again.network.train()(views)
    total = Uniformity(0.5, 2.0)(Views(output.projections)).total
    base, criterion = (
        torch.autograd.grad(loss, output.projections, retain_graph=True)[0].norm() for loss in (output.loss, total)
    )
    assert record.metrics["train/gradient_ratio"] == pytest.approx(float(criterion / base), rel=1e-5)
    assert record.metrics["train/criterion"] == pytest.approx(float(total.detach()), rel=1e-6)


class TestMicroBatches:
    """The backbone sees parts, heads and criterion the whole batch."""

    def test_without_batch_statistics_nothing_changes(self) -> None:
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.Tanh(), nn.Linear(32, 16))
        whole = SimSiam().build(backbone.double(), 16).double()
        parts = copy.deepcopy(whole)
        parts.micro_batch_size = 7
        views = [torch.randn(50, 1, 28, 28, dtype=torch.float64) for _ in range(2)]
        for network in (whole, parts):
            output = network(views)
            backpropagate(output, AddOn(Uniformity(0.5)).pull(output))
        for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
            assert a.grad is not None and b.grad is not None
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-14)

    def test_running_statistics_move_once(self, make_trainer: MakeTrainer, train: Train) -> None:
        """The second pass through the backbone, for the gradient, does not count."""
        trainer = make_trainer(changed(CONTINUATION, numerics__micro_batch_size=25))
        train(trainer, 1)
        counts = [v for k, v in trainer.network.backbone.state_dict().items() if k.endswith("num_batches_tracked")]
        assert counts and all(count == 4 for count in counts), "two views in two parts"

    def test_criterion_values_stay_close_to_those_of_whole_batches(
        self, make_trainer: MakeTrainer, train: Train
    ) -> None:
        """Batch normalisation in the backbone sees half the batch, which moves the first step's values by up to 5 %."""
        whole, parts = (
            train(
                make_trainer(changed(CONTINUATION, criterion=criterion_of("e2mc"), numerics__micro_batch_size=size)), 1
            )
            for size in (None, 25)
        )
        for key, value in whole[0].metrics.items():
            if key.startswith("train/criterion"):
                assert parts[0].metrics[key] == pytest.approx(value, rel=0.05), key


def test_a_criterion_changes_the_weights_and_reports_its_terms(make_trainer: MakeTrainer, train: Train) -> None:
    none = make_trainer(changed(CONTINUATION, criterion=criterion_of("none")))
    some = make_trainer(CONTINUATION)
    train(none)
    records = train(some)
    name = next(iter(none.network.state_dict()))
    assert not torch.equal(none.network.state_dict()[name], some.network.state_dict()[name])
    for record in records:
        values = record.metrics
        assert values["train/criterion"] == pytest.approx(0.5 * values["train/criterion/uniformity"])
        assert values["train/loss"] == pytest.approx(values["train/base_loss"] + values["train/criterion"])


def test_training_lowers_the_loss(make_trainer: MakeTrainer, train: Train) -> None:
    records = train(make_trainer(changed(PRETRAINING, epochs=4)))
    losses = [record.metrics["train/loss"] for record in records]
    assert sum(losses[-5:]) < sum(losses[:5])


class TestDivergence:
    def test_the_first_step_that_is_not_finite_is_named(self, make_trainer: MakeTrainer, train: Train) -> None:
        records = train(make_trainer(changed(PRETRAINING, optimizer__lr=1e30, optimizer__warmup_epochs=0)), 8)
        bad = [r.step for r in records if not all(torch.isfinite(torch.tensor(v)) for v in r.metrics.values())]
        with pytest.raises(DivergedError, match=rf"^step {bad[0]}: train/base_loss, train/loss not finite"):
            check_finite(records)

    def test_finite_steps_pass(self, make_trainer: MakeTrainer, train: Train) -> None:
        check_finite(train(make_trainer(PRETRAINING), 3))

    def test_a_term_that_is_only_watched_may_be_anything(self) -> None:
        base = {"train/loss": 1.0, "train/base_loss": 1.0, "train/criterion": 0.0, "train/criterion/x": float("nan")}
        check_finite([StepRecord(1, base)])

    def test_terms_are_named_before_what_they_spoil(self) -> None:
        nan = float("nan")
        values = {"train/loss": nan, "train/base_loss": 1.0, "train/criterion": nan, "train/lr": nan}
        terms = {"train/criterion/entropy": nan, "train/criterion/covariance": 1.0}
        named = "train/criterion/entropy, train/criterion, train/loss"
        with pytest.raises(DivergedError, match=rf"^step 7: {named} not finite$"):
            check_finite([StepRecord(7, {**values, **terms})])

    def test_weights_that_blow_up_in_the_last_step_are_noticed(self, make_trainer: MakeTrainer, train: Train) -> None:
        trainer = make_trainer(changed(PRETRAINING, epochs=1))
        train(trainer, 9)
        for group in trainer.optimizer.param_groups:
            group["weight_decay"] = float("inf")
        with pytest.raises(DivergedError, match=r"after the last step .* weights are not finite"):
            train(trainer)


def test_bfloat16_runs_here_and_keeps_its_weights_in_float32(make_trainer: MakeTrainer, train: Train) -> None:
    training = changed(CONTINUATION, numerics__dtype="bfloat16")
    trainer = make_trainer(training)
    records = train(trainer, 3)
    check_finite(records)
    assert {value.dtype for value in trainer.network.parameters()} == {torch.float32}
    exact = train(make_trainer(CONTINUATION), 3)
    assert metrics(records) != metrics(exact)
    assert records[0].metrics["train/loss"] == pytest.approx(exact[0].metrics["train/loss"], abs=0.05)


@pytest.mark.parametrize("name", [name for name in registry.names("criteria") if name != "none"])
def test_criterion_values_under_bfloat16_stay_close_to_those_in_float32(
    make_trainer: MakeTrainer, train: Train, name: str
) -> None:
    """The projections carry three digits, the criterion computes in float32: 5 % at the first step."""
    exact, rough = (
        train(make_trainer(changed(CONTINUATION, criterion=criterion_of(name), numerics__dtype=dtype)), 1)
        for dtype in ("float32", "bfloat16")
    )
    for key, value in exact[0].metrics.items():
        if key.startswith("train/criterion"):
            assert rough[0].metrics[key] == pytest.approx(value, rel=0.05, abs=1e-6), key


def test_initial_weights_are_a_function_of_the_base_seed(make_trainer: MakeTrainer) -> None:
    torch.manual_seed(0)
    first, same, other = (
        make_trainer(t).network.state_dict() for t in (PRETRAINING, CONTINUATION, changed(PRETRAINING, seeds__base=2))
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_tuning_and_confirming_train_alike() -> None:
    plan = tiny_plan()
    tune, confirm = (continuation(plan, phase=phase) for phase in (Phase.TUNE, Phase.CONFIRM))
    assert tune.training == confirm.training and tune.labels != confirm.labels
