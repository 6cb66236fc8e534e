"""One pass over a study: what a tracker does not have, or does not have any more, is copied to it.

`published.json` beside each run says how far which store has got, and is written after the copying. A killed
pass is repeated: the run is found again by its tags, and equal rows are the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from study.errors import HomeError
from study.journal.files import read_json
from study.paths import HomePaths
from study.plan.expand import base_spec
from study.plan.model import Plan
from study.tracking.base import HOME_TAG, Tracker
from study.tracking.census import Census, Group
from study.tracking.groups import GroupPass, Means
from study.tracking.identity import Home, TwinError, identify, renewed
from study.tracking.ledger import Ledger, runs_in
from study.tracking.progress import GroupProgress, only_publisher
from study.tracking.runs import Destination
from study.tracking.study_pass import StudyPass
from study.tracking.summary import PublishSummary, about_copy, about_move

BASES_EXPERIMENT = "bases"
_LOOK_EVERY_S, _SHARE = 60.0, 0.1


def publish(
    home: HomePaths, study: str, tracker: Tracker, *, interrupted: Callable[[], bool] = lambda: False
) -> PublishSummary:
    """Publish what is new, and what is gone; doing it again changes nothing.

    Args:
        home: the study home.
        study: name of the study, and of its experiment.
        tracker: where to.
        interrupted: asked between runs; the pass ends early when it is true.

    Raises:
        TrackerError: the tracker does not work.
        HomeError: the folder holds another study.
    """
    return Publisher(home, study, tracker).publish(interrupted)


def publish_study(home: HomePaths, study: str, tracker: Tracker) -> PublishSummary:
    """Publish the run that stands for the study, with its plan, frames and report, and no other run.

    Raises:
        TrackerError: the tracker does not work.
    """
    return Publisher(home, study, tracker).publish_study()


class Publisher:
    """Publishes one study to one tracker, pass after pass."""

    def __init__(
        self,
        home: HomePaths,
        study: str,
        tracker: Tracker,
        *,
        look_every_s: float = _LOOK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember from where and to where.

        Args:
            home: the study home.
            study: name of the study.
            tracker: where to.
            look_every_s: how often a pass looks whether everything is still there; the first one does.
            clock: seconds that only grow.
        """
        self._home, self._paths, self._tracker = home, home.study(study), tracker
        self._look_every_s, self._clock = look_every_s, clock
        self._next_look_s = self._next_census_s = clock()
        self._ledger = Ledger()
        self._plan_of_bases: Plan | None = None
        self._bases: list[str] = []

    def publish(self, interrupted: Callable[[], bool] = lambda: False) -> PublishSummary:
        """Publish what is new, and what is gone; see `publish`."""
        summary, begin_s = PublishSummary(), self._clock()
        if not self._paths.plan.exists():
            summary.is_complete = False
            return summary
        plan = self._plan()
        means = Means(self._tracker, self._ledger, summary, interrupted, is_thorough=begin_s >= self._next_look_s)
        with only_publisher(self._paths.root) as is_alone:
            if is_alone:
                self._identified(summary, lambda home: self._publish_runs(plan, home, means))
            summary.is_complete &= is_alone
        roots = self._roots_of_bases(plan)
        if roots:
            with only_publisher(self._home.bases) as is_alone:
                if is_alone:
                    self._publish_bases(roots, identify(self._home), means)
                summary.is_complete &= is_alone
        if means.is_thorough and summary.is_complete:
            self._next_look_s = begin_s + self._look_every_s
        return summary

    def publish_study(self, summary: PublishSummary | None = None) -> PublishSummary:
        """Publish the run that stands for the study alone, and add that to `summary`; see `publish_study`."""
        summary, plan = summary or PublishSummary(), self._plan()
        with only_publisher(self._paths.root) as is_alone:
            if is_alone:
                self._identified(summary, lambda home: StudyPass(self._paths, plan, home, self._tracker, summary))
            summary.is_complete &= is_alone
        return summary

    def _plan(self) -> Plan:
        plan = Plan.from_json(read_json(self._paths.plan))
        if plan.study != self._paths.root.name:
            folder = self._paths.root
            raise HomeError(f"{folder} holds study {plan.study!r}; a copy of a study has to go into another home")
        return plan

    def _identified(self, summary: PublishSummary, work: Callable[[Home], object]) -> None:
        """Do something as this home; as another one, when a copy of it publishes under the same identity."""
        home = identify(self._home)
        try:
            work(home)
        except TwinError as twin:
            home = renewed(self._home, home, str(twin))
            work(home)
        if home.copied_from:
            summary.notes.append(about_copy(home))

    def _publish_runs(self, plan: Plan, home: Home, means: Means) -> None:
        study = StudyPass(self._paths, plan, home, self._tracker, means.summary, is_thorough=means.is_thorough)
        begin_s = self._clock()
        if study.parent is not None and study.send_runs(means, may_look_at_all=begin_s >= self._next_census_s):
            end_s = self._clock()
            self._next_census_s = end_s + (end_s - begin_s) / _SHARE

    def _roots_of_bases(self, plan: Plan) -> list[str]:
        """Directories of those bases of the study that exist."""
        existing = set(runs_in(str(self._home.bases)))
        if existing and plan != self._plan_of_bases:
            self._plan_of_bases = plan
            self._bases = [str(self._home.base(base_spec(plan, seed).run_id).root) for seed in sorted(plan.base_seeds)]
        return [root for root in self._bases if root in existing]

    def _publish_bases(self, roots: list[str], home: Home, means: Means) -> None:
        experiment = self._tracker.ensure_experiment(BASES_EXPERIMENT, home, is_shared=True)
        means.summary.notes += about_move(experiment)
        group = Group(experiment, HOME_TAG, home.id)
        bases = GroupPass(roots, group, Destination(home, experiment, ""), means, kept=runs_in(str(self._home.bases)))
        file = self._home.bases_published
        progress = GroupProgress.read(file)
        if progress is None or not progress.is_about(experiment.store, home.id):
            progress = GroupProgress(experiment.store, "", home.id)
        census = Census(**progress.census)
        bases.run(census)
        if asdict(census) != progress.census:
            progress.census = asdict(census)
            progress.write(file)
