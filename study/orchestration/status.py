"""Where a study stands, read from its files alone: works beside a running orchestrator and long after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from study.execution.base import seems_alive
from study.journal.files import read_json, read_json_or_none
from study.orchestration.actions import read_trials
from study.orchestration.decide import Situation, decide, evaluations_for, known_specs
from study.orchestration.forecast import count_runs
from study.orchestration.lease import describe, holder_of
from study.orchestration.ledger import Ledger
from study.orchestration.outcomes import fruitless_arms
from study.orchestration.snapshot import Observer, RunStatus
from study.orchestration.typed import command_of
from study.paths import HomePaths
from study.plan.fruitless import sentences
from study.plan.model import Phase, Plan


@dataclass(frozen=True)
class StudyStatus:
    """Where a study stands.

    Attributes:
        study: its name.
        is_finished: everything that the plan asks for is done, and there.
        orchestrator: who orchestrates, or None.
        phases: phase → status → number of runs; `expected` is how many the plan needs.
        active: run id → step and number of steps.
        failed: run id → what went wrong.
        without_result: what is said about arms that came to nothing, and what to type.
        command: what carries on, to be typed; None: an earlier release has not kept it.
    """

    study: str
    is_finished: bool
    orchestrator: str | None
    phases: Mapping[str, Mapping[str, int]]
    active: Mapping[str, tuple[int, int]]
    failed: Mapping[str, str]
    without_result: tuple[str, ...] = ()
    command: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and scalars."""
        return asdict(self)

    def as_text(self) -> str:
        """A few lines for a terminal."""
        over = "over, though not every arm has a result" if self.without_result else "finished"
        state = over if self.is_finished else f"orchestrated by {self.orchestrator}" if self.orchestrator else "idle"
        lines = [f"{self.study}: {state}"]
        for phase, counts in self.phases.items():
            parts = [f"{n} {status}" for status, n in counts.items() if n and status != "expected"]
            lines.append(f"  {phase:8} {', '.join(parts) or 'nothing yet'} of {counts['expected']}")
        lines += [f"  running  {run_id}: step {step}/{total or '?'}" for run_id, (step, total) in self.active.items()]
        lines += [f"  failed   {run_id}: {message}" for run_id, message in self.failed.items()]
        lines += [f"  {sentence}" for sentence in self.without_result]
        if not self.is_finished and not self.orchestrator:
            kept = f"the command that started it; its sweep file is kept in {self.study}/plan.yaml"
            lines.append(f"Carry on: {self.command}" if self.command else f"Carry on with {kept}")
        return "\n".join(lines)


def study_status(home: HomePaths, name: str) -> StudyStatus:
    """Read the status of a study whose plan is stored."""
    study = home.study(name)
    plan = Plan.from_json(read_json(study.plan))
    trials = {arm.name: read_trials(study, arm.name) for arm in plan.arms if arm.is_tuned}
    observer = Observer(seems_alive)
    counts: dict[Phase, Counter[str]] = {phase: Counter() for phase in Phase}
    active, failed, ledger = {}, {}, Ledger(plan)
    keys = {phase: frozenset(request.key for request in evaluations_for(plan, phase)) for phase in Phase}
    known = list(known_specs(plan, trials))
    views = observer.first_views([(home.run_of(name, spec.run_id, phase), keys[phase]) for spec, phase in known])
    for (spec, phase), view in zip(known, views, strict=True):
        counts[phase][str(view.status)] += 1
        ledger.add(spec, phase, view)
        if view.status is RunStatus.ACTIVE:
            active[spec.run_id] = (view.step, view.num_steps)
        elif view.failure:
            failed[spec.run_id] = view.failure
    is_over = read_json_or_none(study.finished) is not None
    expected = count_runs(plan)
    holder = holder_of(study.lease)
    return StudyStatus(
        study=name,
        is_finished=is_over and not active and not decide(plan, Situation(trials, ledger, num_free_slots=1)),
        orchestrator=describe(holder) if holder else None,
        phases={str(phase): {"expected": expected[phase], **counts[phase]} for phase in Phase},
        active=active,
        failed=failed,
        without_result=tuple(sentences(fruitless_arms(plan, trials, ledger.entries), plan)),
        command=command_of(read_json_or_none(study.command)),
    )
