"""How long will it take? From runs that this home has completed, else from a few real training steps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from study.orchestration.progress import Progress
from study.orchestration.snapshot import RunStatus
from study.plan.expand import base_spec, required_evaluations, run_spec
from study.plan.model import Component, Phase, Plan

_PROBE_STEPS, _PROBE_S = 3, 10.0
_PROBE_PIXELS, _LEAST_IMAGES = 1_000_000, 8  # fewer images than a batch has when they are large
_WORTH_RUNS = 8  # the estimate counts like so many runs
_EVALUATION_STEPS = 15  # an evaluation has been seen to cost about as much as this many training steps


@dataclass(frozen=True)
class Forecast:
    """Expected numbers and costs.

    Attributes:
        num_runs: runs that the plan needs, by phase.
        seconds: seconds that one run of a phase keeps a slot busy, on average.
        training: seconds of training, of a run that trains.
        evaluating: seconds of the evaluations of a run.
    """

    num_runs: Mapping[Phase, int]
    seconds: Mapping[Phase, float]
    training: Mapping[Phase, float] = field(default_factory=dict)
    evaluating: Mapping[Phase, float] = field(default_factory=dict)

    def total_s(self) -> float:
        """Slot-seconds of the whole plan."""
        return sum(self.num_runs[phase] * self.seconds[phase] for phase in Phase)

    def done_s(self, progress: Progress) -> float:
        """Slot-seconds that are behind us, running runs counted by their steps."""
        done = sum(self.seconds[phase] * progress.ledger.num_over(phase) for phase in Phase)
        for run_id in progress.ledger.active:
            _, phase, view = progress.runs[run_id]
            if view.num_steps:
                done += self.seconds[phase] * view.step / view.num_steps
        return done

    def updated(self, progress: Progress) -> Forecast:
        """With what completed runs really took, which counts the more the more there are.

        The first of a phase say little about the others: an arm that is not continued costs a fraction of the rest.
        """
        seconds = dict(self.seconds)
        for phase, mean_s in progress.ledger.mean_costs_s().items():
            share = (count := progress.ledger.count(RunStatus.COMPLETED, phase)) / (count + _WORTH_RUNS)
            seconds[phase] = share * mean_s + (1 - share) * self.seconds[phase]
        return replace(self, seconds=seconds)


NOTHING = Forecast(*(dict.fromkeys(Phase, 0) for _ in range(4)))  # of a plan of which nothing is left


def count_runs(plan: Plan) -> dict[Phase, int]:
    """Runs that the plan needs, by phase."""
    tuned = sum(arm.is_tuned for arm in plan.arms)
    per_trial = len(plan.tune.base_seeds) * len(plan.tune.continuation_seeds)
    confirming = sum(len(plan.continuation_seeds(arm, Phase.CONFIRM)) for arm in plan.arms)
    return {
        Phase.PREPARE: len(plan.base_seeds),
        Phase.TUNE: tuned * plan.tune.trials_per_arm * per_trial,
        Phase.CONFIRM: confirming * len(plan.confirm.base_seeds),
    }


def forecast(
    plan: Plan, images_per_second: float | None = None, known_s: Mapping[Phase, float] | None = None
) -> Forecast:
    """Expected times from the speed of training.

    Args:
        plan: the study.
        images_per_second: of a continuation, all views of an image counted once; None: a few steps on random images
            are timed on this machine.
        known_s: what runs of a phase have taken; nothing is timed when that of every phase is known.
    """
    counts, known = count_runs(plan), known_s or {}
    if all(phase in known for phase in Phase if counts[phase]):
        return Forecast(counts, {phase: known.get(phase, 0.0) for phase in Phase})
    continued = next(arm for arm in plan.arms if arm.continued)
    spec = run_spec(plan, continued, continued.start, plan.confirm.base_seeds[0], 1, Phase.CONFIRM)
    step = _timed(spec.training) if images_per_second is None else plan.continuation.batch_size / images_per_second
    base = base_spec(plan, plan.confirm.base_seeds[0]).training
    training, evaluating = {Phase.PREPARE: 0.0}, {Phase.PREPARE: 0.0}
    if base["epochs"]:
        base_step = step * base["batch_size"] / plan.continuation.batch_size
        training[Phase.PREPARE] = base["epochs"] * (_num_images(plan.dataset) // base["batch_size"]) * base_step
    for phase in (Phase.TUNE, Phase.CONFIRM):
        own = plan.during(phase)
        own_step = step * own.continuation.batch_size / plan.continuation.batch_size
        steps = own.continuation.epochs * (_num_images(own.dataset) // own.continuation.batch_size)
        training[phase], evaluating[phase] = steps * own_step, _evaluation_s(own, phase, own_step)
    seconds = {phase: _share_trained(plan, phase) * training[phase] + evaluating[phase] for phase in Phase}
    return Forecast(counts, seconds, training, evaluating)


def _share_trained(plan: Plan, phase: Phase) -> float:
    """Of the runs of a phase, the share that train; the others are evaluated as their bases are."""
    if phase is not Phase.CONFIRM:
        return 1.0
    counts = [(arm.continued, len(plan.continuation_seeds(arm, phase))) for arm in plan.arms]
    return sum(count for is_trained, count in counts if is_trained) / sum(count for _, count in counts)


def _evaluation_s(plan: Plan, phase: Phase, step: float) -> float:
    """What the evaluations of a run cost, from the seconds of a step."""
    from study.plan.components import build  # late: `status` reads forecasts, and answers at once

    required = [request.evaluation for request in required_evaluations(plan, phase)]
    pools = {(e.dataset or plan.dataset).name: e.dataset or plan.dataset for e in required}
    num_represented = sum(map(_num_images, pools.values()))
    num_trained: int = sum(
        build("evaluations", e.component).num_trained(_num_images(e.dataset or plan.dataset)) for e in required
    )
    # Of large datasets, the pool's one pass forward counts; a step has three (Kaplan et al. 2020,
    # https://arxiv.org/abs/2001.08361, §2.1), of at least two views. Fine-tuning has three, of one view.
    passes = num_represented / 6 + num_trained / 2
    return max(_EVALUATION_STEPS * step * len(required), passes / plan.continuation.batch_size * step)


def _num_images(dataset: Component) -> int:
    return int(dataset.params.get("num_ssl_images", 0))


_timings: dict[str, float] = {}


def _timed(training: Mapping[str, Any]) -> float:
    """Seconds of a step, timed once for all blocks of a study that have the same steps."""
    kind = {key: value for key, value in training.items() if key not in ("initial", "seeds", "epochs", "optimizer")}
    key = json.dumps(kind, sort_keys=True)
    if key not in _timings:
        _timings[key] = _seconds_per_step(training)
    return _timings[key]


def _seconds_per_step(training: Mapping[str, Any]) -> float:
    """Time forward and backward passes.

    Neither optimiser nor deterministic algorithms: both import torch's compiler, which takes longer than the timing.
    """
    import torch

    from study.training.add_on import AddOn
    from study.training.assemble import build_network, component
    from study.training.feed import Feed
    from study.training.loop import backpropagate

    torch.set_num_threads(training["numerics"]["num_threads"])
    dataset = component(training, "datasets", "dataset")
    augmentation = component(training, "augmentations", "augmentation")
    add_on = AddOn(component(training, "criteria", "criterion"))
    network = build_network(training).to(memory_format=torch.channels_last)
    network.micro_batch_size = training["numerics"]["micro_batch_size"]
    batch_size = training["batch_size"]
    probed = min(batch_size, max(_LEAST_IMAGES, _PROBE_PIXELS // dataset.image_size**2))
    shape = (probed, dataset.num_channels, dataset.image_size, dataset.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    feed = Feed(images, augmentation, torch.device("cpu"), ("forecast",), probed)
    batches = feed.batches((0, step, torch.arange(probed)) for step in range(_PROBE_STEPS + 1))
    times = []
    for _ in range(_PROBE_STEPS + 1):
        start = time.perf_counter()
        output = network(next(batches).views)
        backpropagate(output, add_on.pull(output))
        times.append(time.perf_counter() - start)
        if sum(times) > _PROBE_S:
            break
    return min(times) * float(batch_size / probed)  # the first step pays for allocations, others for busy neighbours
