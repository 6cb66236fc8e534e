"""What is left of a study: what its plan needs, less what is there, and less what other studies of the home have.

Read from files alone, without a lease; nothing is written but summaries, and a study that runs meanwhile is not
disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.execution.base import seems_alive
from study.execution.local import usual_slots, visible_gpus
from study.journal.files import is_there
from study.orchestration.actions import read_trials
from study.orchestration.decide import evaluations_for, final_params
from study.orchestration.forecast import count_runs
from study.orchestration.reuse import TrainedRuns
from study.orchestration.snapshot import Observer, RunStatus
from study.paths import HomePaths, RunPaths
from study.plan.expand import base_spec, confirm_specs, tune_specs
from study.plan.model import Arm, Phase, Plan
from study.plan.site import SLURM_SLOTS, Site
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState

Trials = Mapping[str, Sequence[Trial]]
_RUN = RunPaths(Path())  # file names, relative to a run
_TRAINED, _EVALUATIONS = f"/{_RUN.trained}", f"/{_RUN.evaluations}"
_OVER_WITHOUT_RUNS = (TrialState.INFEASIBLE, TrialState.FAILED)  # of which not every run was needed


@dataclass(frozen=True)
class PhaseOutlook:
    """What is left of a phase.

    Attributes:
        num_runs: runs that the plan needs.
        num_done: those that are over.
        num_found: those that are taken over from other studies.
        num_to_train: those that will train.
        num_to_evaluate: those that will only be evaluated: of arms that are not continued, and where evaluations lack.
        num_to_hand_over: those of them that keep weights of their own.
    """

    num_runs: int
    num_done: int = 0
    num_found: int = 0
    num_to_train: int = 0
    num_to_evaluate: int = 0
    num_to_hand_over: int = 0

    @property
    def num_left(self) -> int:
        """Runs for which something will be done."""
        return self.num_to_train + self.num_to_evaluate


@dataclass(frozen=True)
class Slots:
    """How many runs go on at once, and what says so."""

    number: int
    source: str

    def __str__(self) -> str:
        return f"{self.number} {'slot' if self.number == 1 else 'slots'} ({self.source})"


def slots_of(site: Site, site_file: Path | None, given: int | None) -> Slots:
    """Runs at once, as a start would have them; `given` is the command's own number."""
    if given is not None:
        return Slots(given, "--slots")
    if site.slots is not None:
        return Slots(site.slots, f"slots of {site_file}")
    if site.slurm is not None:
        return Slots(SLURM_SLOTS, "usual with SLURM")
    if site.executor == "inline":
        return Slots(1, "executor: inline")
    num_gpus = len(visible_gpus())
    what = "GPUs" if num_gpus >= site.processes_per_run else "cores"
    each = f", {site.processes_per_run} for a run" if site.processes_per_run > 1 else ""
    return Slots(usual_slots(num_gpus, site.processes_per_run), f"{what} of this machine{each}")


class Outlook:
    """Looks at the studies of one command, one after the other: what an earlier one will train, a later one finds."""

    def __init__(self, home: HomePaths, *, reuse: bool = True) -> None:
        """`reuse`: whether equal runs of other studies are taken over."""
        self._home, self._reuse = home, reuse
        self._promised: set[str] = set()

    def of(self, plan: Plan) -> dict[Phase, PhaseOutlook]:
        """What is left of a plan, by phase; bases of the home count, whether or not the study has been started."""
        study = self._home.study(plan.study)
        trials = {arm.name: read_trials(study, arm.name) for arm in plan.arms if arm.is_tuned}
        others = TrainedRuns(self._home, plan.study, has_lease=False)
        counts = {phase: {"num_runs": number} for phase, number in count_runs(plan).items()}

        keys = {phase: [request.key for request in evaluations_for(plan, phase)] for phase in Phase}

        def add(phase: Phase, what: str, number: int = 1) -> None:
            counts[phase][what] = counts[phase].get(what, 0) + number

        for spec, phase, is_over in _known(plan, trials):
            run = self._home.run_of(plan.study, spec.run_id, phase)
            trains = spec.training["epochs"] > 0 or "imported" in spec.training
            if is_over or _is_over(run, keys[phase]):
                add(phase, "num_done")
            elif run.trained.exists():
                add(phase, "num_to_evaluate")
            elif spec.identity in self._promised or self._is_elsewhere(run, spec, phase, others):
                add(phase, "num_found")
            else:
                add(phase, "num_to_train" if trains else "num_to_evaluate")
                add(phase, "num_to_hand_over", 0 if trains else 1)
                if self._reuse or phase is Phase.PREPARE:
                    self._promised.add(spec.identity)
        for phase, number in _unknown(plan, trials).items():
            add(phase, "num_to_train", number)
        return {phase: PhaseOutlook(**counts[phase]) for phase in Phase}

    def _is_elsewhere(self, run: RunPaths, spec: RunSpec, phase: Phase, others: TrainedRuns) -> bool:
        return self._reuse and phase is not Phase.PREPARE and not run.root.exists() and others.find(spec) is not None


def _is_over(run: RunPaths, evaluation_keys: Sequence[str]) -> bool:
    root = str(run.root)
    if not is_there(root):
        return False
    if is_there(root + _TRAINED):
        return all(is_there(f"{root}{_EVALUATIONS}/{key}.json") for key in evaluation_keys)
    view = Observer(seems_alive).view(run, evaluation_keys)
    return view.status is RunStatus.INFEASIBLE  # diverged, which is an outcome


def _known(plan: Plan, trials: Trials) -> Iterator[tuple[RunSpec, Phase, bool]]:
    """Runs whose parameters are known: of bases, trials, decided arms; and whether their trial is over without them.

    A search that has not begun starts at declared values.
    """
    for seed in plan.base_seeds:
        yield base_spec(plan, seed), Phase.PREPARE, False
    for arm in plan.arms:
        if arm.is_tuned:
            own = [(trial.params, trial.state in _OVER_WITHOUT_RUNS) for trial in trials[arm.name]]
            for params, is_over in own or [(arm.start, False)]:
                yield from ((spec, Phase.TUNE, is_over) for spec in tune_specs(plan, arm, params))
        chosen = final_params(plan, arm, trials)
        if chosen is not None:
            yield from ((spec, Phase.CONFIRM, False) for spec in confirm_specs(plan, arm, chosen))


def _unknown(plan: Plan, trials: Trials) -> dict[Phase, int]:
    """Runs that the plan needs and whose parameters are not known yet; all of them train."""
    per_trial = len(plan.tune.base_seeds) * len(plan.tune.continuation_seeds)
    searched = [arm for arm in plan.arms if arm.is_tuned]
    tuning = sum(plan.tune.trials_per_arm - max(1, len(trials[arm.name])) for arm in searched) * per_trial
    waiting = [arm for arm in plan.arms if final_params(plan, arm, trials) is None and _is_open(plan, arm, trials)]
    confirming = sum(len(plan.continuation_seeds(arm, Phase.CONFIRM)) for arm in waiting) * len(plan.confirm.base_seeds)
    return {Phase.TUNE: tuning, Phase.CONFIRM: confirming}


def _is_open(plan: Plan, arm: Arm, trials: Trials) -> bool:
    """Whether the search that decides on an arm goes on; of one that is over and has no winner, nothing will run."""
    while arm.inherits and arm.parent is not None:
        arm = plan.arm(arm.parent)
    ended = sum(trial.state is not TrialState.RUNNING for trial in trials.get(arm.name, ()))
    return arm.is_tuned and ended < plan.tune.trials_per_arm
