"""Every known run and what was seen of it last; what is asked of all runs in every turn is kept, not counted anew."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from study.orchestration.snapshot import RunStatus, RunView
from study.plan.model import Phase, Plan
from study.plan.spec import RunSpec

_OVER = (RunStatus.COMPLETED, RunStatus.INFEASIBLE, RunStatus.FAILED)
_TROUBLED = (RunStatus.INFEASIBLE, RunStatus.FAILED)
_LACKING = (RunStatus.WAITING, RunStatus.FAILED)
_PROVING = (RunStatus.COMPLETED, RunStatus.INFEASIBLE)

Entry = tuple[RunSpec, Phase, RunView]
Rank = tuple[int, int, int]  # of its base seed, of its arm, of itself


class Ledger(Mapping[str, RunView]):
    """Run id → newest view.

    Attributes:
        entries: run id → spec, phase and view.
        version: changes whenever a decision might.
        active: runs that are active, in the order in which they became so.
        troubled: runs that failed or are infeasible, likewise.
        lacking_bases: bases that wait or failed; another study of the home may train them.
        tuning: runs of trials that wait.
        ended: run ids in the order in which the runs ended; those that were tried again are there again.
        troubles: what went wrong with attempts, run by run, as it was noticed.
        spent_s: seconds for which attempts have kept slots busy.
    """

    def __init__(self, plan: Plan) -> None:
        """Begin without runs."""
        self.entries: dict[str, Entry] = {}
        self.version = 0
        self.active: dict[str, None] = {}
        self.troubled: dict[str, None] = {}
        self.lacking_bases: dict[str, None] = {}
        self.tuning: dict[str, None] = {}
        self.ended: list[str] = []
        self.troubles: list[str] = []
        self.spent_s = 0.0
        self._counts: Counter[tuple[Phase, RunStatus]] = Counter()
        self._cost_s: dict[Phase, float] = {}
        self._proving: Counter[str] = Counter()
        self._holding: Counter[str] = Counter()
        self._waiting: dict[str, list[tuple[Rank, str]]] = {arm.name: [] for arm in plan.arms}
        self._ranks: dict[str, Rank] = {}
        self._seeds = {seed: number for number, seed in enumerate(plan.confirm.base_seeds)}
        self._arms = {arm.name: number for number, arm in enumerate(plan.arms)}

    def __getitem__(self, run_id: str) -> RunView:
        return self.entries[run_id][2]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, spec: RunSpec, phase: Phase, view: RunView | None = None) -> None:
        """Take in a run, which waits unless its view says otherwise; nothing changes when it is known."""
        run_id = spec.run_id
        if run_id in self.entries:
            return
        seed, arm = self._seeds.get(spec.labels["base_seed"], -1), self._arms.get(spec.labels.get("arm", ""), -1)
        self._ranks[run_id] = seed, arm, len(self.entries)
        self.entries[run_id] = spec, phase, view or RunView()
        self._count(run_id, 1)
        self._place(run_id)
        self.troubles += [f"{run_id}: {line}" for line in self[run_id].trouble]

    def update(self, run_id: str, view: RunView) -> None:
        """Take in what was seen of a run that is known."""
        spec, phase, before = self.entries[run_id]
        if view is before:
            return
        self._count(run_id, -1)
        self.entries[run_id] = spec, phase, view
        self._count(run_id, 1)
        if view.status is not before.status:
            self._place(run_id, before.status)
        elif _is_proving(view) is not _is_proving(before):
            self.version += 1
        self.troubles += [f"{run_id}: {line}" for line in view.trouble if line not in before.trouble]

    def status(self, run_id: str) -> RunStatus:
        """Status of a run; one that is not known has no directory yet."""
        entry = self.entries.get(run_id)
        return RunStatus.WAITING if entry is None else entry[2].status

    def count(self, status: RunStatus, phase: Phase | None = None) -> int:
        """How many runs have this status."""
        return sum(self._counts[p, status] for p in ((phase,) if phase else Phase))

    def num_known(self, phase: Phase) -> int:
        """How many runs of a phase are known."""
        return sum(self._counts[phase, status] for status in RunStatus)

    def num_over(self, phase: Phase) -> int:
        """How many runs of a phase have ended, well or not."""
        return sum(self._counts[phase, status] for status in _OVER)

    def mean_costs_s(self) -> dict[Phase, float]:
        """CPU seconds that completed runs took on average, for each phase that has any."""
        counts = {phase: self._counts[phase, RunStatus.COMPLETED] for phase in Phase}
        return {phase: self._cost_s[phase] / count for phase, count in counts.items() if count}

    def is_proven(self, arm: str) -> bool:
        """Whether a run of the arm has made a step, or has had an outcome."""
        return self._proving[arm] > 0

    def is_held(self, arm: str) -> bool:
        """Whether a run of the arm is active or has failed, and has shown nothing yet."""
        return self._holding[arm] > 0

    def confirming(self, arm: str) -> Sequence[tuple[Rank, str]]:
        """The confirming runs of an arm that wait, base by base, in the order of the plan."""
        return self._waiting[arm]

    def _count(self, run_id: str, sign: int) -> None:
        """Count a run in, or out again."""
        spec, phase, view = self.entries[run_id]
        status, arm = view.status, spec.labels.get("arm")
        self._counts[phase, status] += sign
        self.spent_s += sign * view.spent_s
        if status is RunStatus.COMPLETED:
            self._cost_s[phase] = self._cost_s.get(phase, 0.0) + sign * _cost_s(view)
        if arm is not None:
            self._proving[arm] += sign * _is_proving(view)
            self._holding[arm] += sign * (not _is_proving(view) and status in (RunStatus.ACTIVE, RunStatus.FAILED))

    def _place(self, run_id: str, before: RunStatus | None = None) -> None:
        """Put a run where runs of its status are, and take it from where it was."""
        spec, phase, view = self.entries[run_id]
        self.version += 1
        kept = [((RunStatus.ACTIVE,), self.active), (_TROUBLED, self.troubled)]
        kept += [(_LACKING, self.lacking_bases)] if phase is Phase.PREPARE else []
        kept += [((RunStatus.WAITING,), self.tuning)] if phase is Phase.TUNE else []
        for statuses, runs in kept:
            if view.status in statuses:
                runs.setdefault(run_id)
            else:
                runs.pop(run_id, None)
        if view.status in _OVER:
            self.ended.append(run_id)
        if phase is Phase.CONFIRM and RunStatus.WAITING in (before, view.status):
            own, item = self._waiting[spec.labels["arm"]], (self._ranks[run_id], run_id)
            if before is RunStatus.WAITING:
                del own[bisect_left(own, item)]
            else:
                insort(own, item)


def _is_proving(view: RunView) -> bool:
    return view.step > 0 or view.status in _PROVING


def _cost_s(view: RunView) -> float:
    return view.train_cpu_s + sum(float(e.get("cpu_s", 0.0)) for e in view.evaluations.values())
