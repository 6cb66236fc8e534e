"""The training half of an attempt: start or resume, checkpoint, heartbeat, hand over the weights."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from safetensors.torch import save

from study.journal.events import EventWriter
from study.journal.files import link_once, write_atomic, write_json
from study.journal.thinning import is_kept
from study.methods.base import MethodNetwork
from study.paths import RunPaths
from study.plan.model import SCHEMA_VERSION
from study.provenance.identity import training_code
from study.tensors.batch_norm import synchronise
from study.training.assemble import build_network, build_trainer
from study.training.checkpoint import load_checkpoint, save_checkpoint
from study.training.loop import StepRecord, Trainer, check_finite
from study.training.optimizers import carry_over
from study.training.seen import network_sha256
from study.worker.imported import import_base
from study.worker.preemption import StopWatch, stop_together
from study.worker.pruning import Pruner
from study.worker.ranks import teammates
from study.worker.workplace import Resumption, Workplace, trained_attempt, weights_sha256

_FLUSH_EVERY = 10
_AT_EPOCH_ENDS = 0.1  # of the usual time between two checkpoints: at the end of epochs shorter than that, none is due


def train(
    work: Workplace, checkpoint: Resumption | None, events: EventWriter, watch: StopWatch, pruner: Pruner | None = None
) -> bool:
    """Train to the end, or import, and link the result into the run; False when stopped before.

    Raises:
        DivergedError: a number is not finite.
        PrunedError: `pruner` says that others were better at this point.
    """
    cpu, wall = time.process_time(), time.monotonic()
    training = work.spec.training
    is_continuation = training["initial"] is not None
    network = work.trained_network(work.base) if is_continuation else build_network(training)
    paired = {"base_weights": weights_sha256(work.base)} if is_continuation else {}
    if "imported" in training:
        events.append("imported", durable=True, **import_base(work, network))
        _hand_over(work, network, 0, {}, events, cpu, wall)
        return True
    if training["epochs"] == 0:
        like = trained_attempt(work.base).weights if is_continuation else None
        loaded = {"loaded_weights": network_sha256(network, like)}
        _hand_over(work, network, 0, {**paired, **loaded}, events, cpu, wall)
        return True
    with teammates(work):
        trainer = prepare(work, checkpoint, network)
        if not _run(work, trainer, events, watch, pruner):
            return False
    _hand_over(work, trainer.network, trainer.step, {**paired, **trainer.pairing()}, events, cpu, wall)
    if is_continuation:
        work.attempt.checkpoint.unlink(missing_ok=True)
    return True


def prepare(work: Workplace, checkpoint: Resumption | None, network: MethodNetwork | None = None) -> Trainer:
    """The trainer of this process, at the step to go on from."""
    training = work.spec.training
    is_continuation = training["initial"] is not None
    if network is None:
        network = work.trained_network(work.base) if is_continuation else build_network(training)
    if work.num_processes > 1:
        synchronise(network, work.device)
    trainer = build_trainer(training, network, work.dataset.unlabelled(work.folder), work.device)
    if is_continuation:
        trainer.loaded_from = trained_attempt(work.base).weights
    if checkpoint:
        trainer.load_state(checkpoint.state)
    elif is_continuation and training["optimizer"]["state"] == "keep":
        carry_over(trainer.optimizer, load_checkpoint(trained_attempt(work.base).checkpoint)["optimizer"])
    return trainer


def _run(work: Workplace, trainer: Trainer, events: EventWriter, watch: StopWatch, pruner: Pruner | None) -> bool:
    """Train to the end; False when stopped before."""
    last_checkpoint = time.monotonic()
    for records in trainer.run(flush_every=_FLUSH_EVERY, must_stop=stop_together(watch.must_stop, work.device)):
        _write_down(work, trainer, records, events)
        is_epoch_end = trainer.step % trainer.schedule.steps_per_epoch == 0
        if pruner is not None and not trainer.is_done and is_epoch_end:
            pruner.judge(trainer.network, trainer.step // trainer.schedule.steps_per_epoch)
        work.pulse.train(trainer.step, trainer.schedule.num_steps)
        now = time.monotonic()
        due_s = work.checkpoint_every_s * (_AT_EPOCH_ENDS if is_epoch_end else 1)
        if now - last_checkpoint >= due_s and not trainer.is_done:
            _save(work, trainer, events)
            last_checkpoint = now
    if not trainer.is_done:
        if not watch.is_superseded():
            _save(work, trainer, events)
        return False
    if work.spec.training["initial"] is None:
        _save(work, trainer, events)  # continuations with `state: keep` start from this optimiser state
    return True


def _write_down(work: Workplace, trainer: Trainer, records: Sequence[StepRecord], events: EventWriter) -> None:
    """Append the steps that a journal keeps; all of them when one has diverged.

    Raises:
        DivergedError: see `check_finite`, which looks at every step.
    """
    num_steps, per_epoch, kept = trainer.schedule.num_steps, trainer.schedule.steps_per_epoch, records
    try:
        check_finite(records)
        kept = [record for record in records if is_kept(record.step, num_steps, per_epoch, work.log_every)]
    finally:
        for record in kept:
            events.append("step", step=record.step, metrics=dict(record.metrics))


def link_result(run: RunPaths) -> None:
    """Link the weights of the attempt that trained into the run."""
    link_once(trained_attempt(run).weights, run.weights)


def _save(work: Workplace, trainer: Trainer, events: EventWriter) -> None:
    save_checkpoint(work.attempt.checkpoint, {**trainer.state(), "code": training_code(work.spec.training).hash})
    events.append("checkpoint", durable=True, step=trainer.step)


def _hand_over(
    work: Workplace, network: MethodNetwork, step: int, paired: Mapping[str, Any], events: EventWriter,
    cpu: float, wall: float,
) -> None:  # fmt: skip
    """Write weights and result of this attempt; the first attempt to link its result is the run's.

    `paired` are the hashes of what must equal that of other arms with the same seeds: `base_weights`, of the file, and
    those of `Trainer.pairing`.
    """
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()})
    write_atomic(work.attempt.weights, lambda file: file.write(weights))
    result = {
        "schema_version": SCHEMA_VERSION,
        "attempt": work.attempt.number,
        "step": step,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "paired": dict(paired),
        "code": training_code(work.spec.training).hash,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.monotonic() - wall,
    }
    write_json(work.attempt.trained, result)
    link_once(work.attempt.trained, work.run.trained)
    link_result(work.run)
    events.append("trained", durable=True, step=step)
