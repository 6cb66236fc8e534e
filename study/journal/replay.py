"""The state of a run as a pure fold over what its directory holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from study.journal.endings import Ending
from study.journal.events import read_events
from study.journal.files import names_in, read_json_or_none
from study.journal.heartbeat import Heartbeat
from study.paths import AttemptPaths, RunPaths

_RUN = RunPaths(Path())
_ATTEMPT = _RUN.attempt(1)
# Thousands of runs are read at once, and joining paths takes longer than reading what they name.
_TRAINED, _REUSED, _EVALUATIONS = (f"/{path}" for path in (_RUN.trained, _RUN.reused, _RUN.evaluations))
_JOB, _CLAIM, _EVENTS, _VERDICT = (
    f"/{path.name}" for path in (_ATTEMPT.job, _ATTEMPT.claim, _ATTEMPT.events, _ATTEMPT.verdict)
)


class AttemptStatus(StrEnum):
    """How far one attempt has got, from its own files; whether its process lives is the executor's to say."""

    INTENDED = "intended"  # job.json written, nobody has claimed it
    REVOKED = "revoked"  # an orchestrator claimed it so that it never starts
    STARTED = "started"  # claimed by a worker, no last word yet
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether the attempt has said its last word."""
        return self not in (AttemptStatus.INTENDED, AttemptStatus.STARTED)


@dataclass(frozen=True)
class AttemptState:
    """What one attempt's files say.

    Attributes:
        number: from 1.
        status: see `AttemptStatus`.
        job: contents of job.json.
        claim: contents of the claim, or None.
        started: the `started` event, or None.
        last_event: the newest event, or None.
        failure: the `failed` event, or None.
        verdict: how an orchestrator found that it ended, or None.
        resumed_step: step this attempt started from.
        checkpoint_step: newest step with a checkpoint, or `resumed_step`.
        steps: (step, time, metrics) of every step event.
        interim: epoch → objective on the validation split, where trials may be pruned.
        is_trained: the attempt's training is complete.
        beat_t: time of the newest heartbeat, of an attempt without a last word.
    """

    number: int
    status: AttemptStatus
    job: Mapping[str, Any]
    claim: Mapping[str, Any] | None = None
    started: Mapping[str, Any] | None = None
    last_event: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None
    verdict: Ending | None = None
    resumed_step: int = 0
    checkpoint_step: int = 0
    steps: tuple[tuple[int, float, Mapping[str, float]], ...] = ()
    interim: Mapping[int, float] = field(default_factory=dict)
    is_trained: bool = False
    cpu_s: float = 0.0
    beat_t: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected of it: a last word of its own, or a verdict."""
        return self.status.is_over or self.verdict is not None

    @property
    def lacks_verdict(self) -> bool:
        """Whether somebody has to find out how it ended: no last word, or a signal whose sender is not known."""
        if self.verdict is not None:
            return False
        reason = str((self.last_event or {}).get("reason"))
        return not self.status.is_over or (self.status is AttemptStatus.STOPPED and reason.startswith("SIG"))


@dataclass(frozen=True)
class RunState:
    """What a run's directory says.

    Attributes:
        attempts: in order.
        trained: contents of the run's trained.json, or None.
        evaluations: the evaluations that exist, by key.
        reused: `study` and `run_id` that the results were taken from, or None.
    """

    attempts: tuple[AttemptState, ...] = ()
    trained: Mapping[str, Any] | None = None
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reused: Mapping[str, Any] | None = None

    @property
    def last(self) -> AttemptState | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all attempts, training and evaluation."""
        return sum(attempt.cpu_s for attempt in self.attempts)


LAST_WORDS = {"finished": AttemptStatus.FINISHED, "stopped": AttemptStatus.STOPPED, "failed": AttemptStatus.FAILED}


def replay_attempt(paths: AttemptPaths, *, with_steps: bool = True) -> AttemptState:
    """Fold one attempt's files into its state; without its training steps in a small part of the time."""
    root = str(paths.root)
    job, claim, verdict = (read_json_or_none(root + name) for name in (_JOB, _CLAIM, _VERDICT))
    events = list(read_events(root + _EVENTS, with_steps=with_steps))
    state = fold_attempt(paths.number, events, job=job or {}, claim=claim, verdict=verdict)
    if state.status is AttemptStatus.STARTED:
        state = replace(state, beat_t=Heartbeat.from_json(read_json_or_none(paths.heartbeat)).t)
    return state if with_steps or not state.steps else replace(state, steps=())


def fold_attempt(
    number: int,
    events: Sequence[Mapping[str, Any]],
    *,
    job: Mapping[str, Any],
    claim: Mapping[str, Any] | None,
    verdict: Mapping[str, Any] | None,
) -> AttemptState:
    """Fold what one attempt's files hold into its state."""
    started = next((e for e in events if e["event"] == "started"), None)
    last = events[-1] if events else None
    resumed = int(started["resumed_step"]) if started else 0
    checkpoints = [int(e["step"]) for e in events if e["event"] == "checkpoint"]
    if last is not None and last["event"] in LAST_WORDS:
        status = LAST_WORDS[last["event"]]
    elif claim is None:
        status = AttemptStatus.INTENDED
    else:
        status = AttemptStatus.REVOKED if claim.get("revoked") else AttemptStatus.STARTED
    return AttemptState(
        number=number,
        status=status,
        job=job,
        claim=claim,
        started=started,
        last_event=last,
        failure=next((e for e in reversed(events) if e["event"] == "failed"), None),
        verdict=Ending.from_json(verdict) if verdict else None,
        resumed_step=resumed,
        checkpoint_step=max([resumed, *checkpoints]),
        steps=tuple((int(e["step"]), float(e["t"]), e["metrics"]) for e in events if e["event"] == "step"),
        interim={int(e["epoch"]): float(e["objective"]) for e in events if e["event"] == "interim"},
        is_trained=any(e["event"] == "trained" for e in events),
        cpu_s=max((float(e["cpu_s"]) for e in events if "cpu_s" in e), default=0.0),
    )


def replay_run(paths: RunPaths, *, with_steps: bool = True) -> RunState:
    """Fold a run's directory into its state; an empty or missing directory is a run without attempts.

    Attempts are read first: what a last word stands for was written before it, so it is seen here too.
    """
    attempts = tuple(replay_attempt(a, with_steps=with_steps) for a in paths.existing_attempts())
    root, evaluations = str(paths.root), {}
    for name in names_in(root + _EVALUATIONS):
        content = read_json_or_none(f"{root}{_EVALUATIONS}/{name}") if name.endswith(".json") else None
        if content is not None:
            evaluations[name.removesuffix(".json")] = content
    trained, reused = (read_json_or_none(root + name) for name in (_TRAINED, _REUSED))
    return RunState(attempts, trained, evaluations, reused)


def settled_steps(
    attempts: Sequence[AttemptState], *, include_provisional: bool
) -> list[tuple[int, float, Mapping[str, float]]]:
    """Training steps in order, without those that a later attempt did again.

    Steps after an attempt's last checkpoint are provisional until its training is complete, because a later attempt
    that resumes below them replaces them; they are left out unless `include_provisional`. A step from which a later
    attempt resumed has a checkpoint: its writer may have been killed before the event that speaks of it.
    """
    resumptions: dict[int, int] = {}
    for attempt in attempts:
        if attempt.started is not None and attempt.started.get("resumed_attempt") is not None:
            origin = int(attempt.started["resumed_attempt"])
            resumptions[origin] = max(resumptions.get(origin, 0), attempt.resumed_step)
    kept: list[tuple[int, float, Mapping[str, float]]] = []
    for attempt in attempts:
        if attempt.started is None:
            continue
        kept = [s for s in kept if s[0] <= attempt.resumed_step]
        saved = max(attempt.checkpoint_step, resumptions.get(attempt.number, 0))
        limit = None if attempt.is_trained or include_provisional else saved
        kept += [s for s in attempt.steps if limit is None or s[0] <= limit]
    return kept
