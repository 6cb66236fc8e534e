"""One pass over one study: its experiment, the run that stands for it, and the runs below that one."""

from __future__ import annotations

from dataclasses import asdict

from study.paths import StudyPaths
from study.plan.model import Plan
from study.tracking.base import PARENT_TAG, SENT_TAG, RejectedError, Tracked, Tracker, UnknownRunError
from study.tracking.census import Census, Group
from study.tracking.describe import NEWEST_TAG
from study.tracking.groups import GroupPass, Means
from study.tracking.identity import Home
from study.tracking.ledger import runs_in, state_of
from study.tracking.parent import attach, ensure_parent
from study.tracking.progress import StudyProgress
from study.tracking.runs import Destination
from study.tracking.summary import PublishSummary, about_foreign, about_move, about_parent


class StudyPass:
    """Publishes one study.

    Attributes:
        parent: the run that stands for the study; None when the tracker refuses it.
    """

    def __init__(
        self,
        paths: StudyPaths,
        plan: Plan,
        home: Home,
        tracker: Tracker,
        summary: PublishSummary,
        *,
        is_thorough: bool = True,
    ) -> None:
        """Find the study's run, or create it, and bring it up to date.

        Raises:
            TrackerError: the tracker does not work.
            TwinError: a copy of the home publishes under the same identity.
        """
        self._paths, self._plan, self._home, self._tracker, self._summary = paths, plan, home, tracker, summary
        self._is_thorough = is_thorough
        known = StudyProgress.read(paths.published)
        self._experiment = tracker.ensure_experiment(plan.study, home, known=known.store if known is not None else "")
        summary.experiment = self._experiment.name
        summary.read_as = f"{plan.study}@{home.short}"
        summary.foreign = about_foreign(self._experiment, plan.study, home)
        summary.notes += about_move(self._experiment)
        if known is not None and not known.is_about(self._experiment.store, home.id):
            known = None
        self.parent: Tracked | None = None
        try:
            try:
                self._progress = self._open(known)
            except UnknownRunError:  # it was deleted meanwhile
                self._progress = self._open(None)
        except RejectedError as error:
            summary.problems.append(f"{paths.root}: {error}")

    def _open(self, known: StudyProgress | None) -> StudyProgress:
        before = asdict(known) if known is not None else None
        found = ensure_parent(self._paths, self._plan, self._home, self._experiment, self._tracker, known)
        progress = known
        if progress is None or progress.tracked_run != found.run.id:
            progress = StudyProgress(self._experiment.store, found.run.id)
        progress.home, progress.experiment = self._home.id, self._experiment.name
        self._summary.reattached += attach(
            self._paths, self._plan, self._experiment, found.run, self._tracker, progress, is_thorough=self._is_thorough
        )
        self._summary.notes += about_parent(found, was_known=known is not None)
        self.parent = found.run
        self._tag(progress)
        if asdict(progress) != before:
            progress.write(self._paths.published)
        return progress

    def send_runs(self, means: Means, *, may_look_at_all: bool) -> bool:
        """Publish the runs below the study's.

        Args:
            means: what to do it with.
            may_look_at_all: every tracked run may be looked at, if need be.

        Returns:
            Whether every tracked run was looked at.
        """
        assert self.parent is not None
        progress, before = self._progress, asdict(self._progress)
        group = Group(self._experiment, PARENT_TAG, self.parent.id)
        runs = GroupPass(
            runs_in(str(self._paths.runs)), group, Destination(self._home, self._experiment, self.parent.id), means
        )
        # a killed pass, a run whose folder is gone, and an older copy of the store all leave different traces here
        is_suspect = len({state_of(runs.entries), progress.state, self.parent.tags.get(SENT_TAG, "")}) > 1
        census = Census(**progress.census)
        is_through = runs.run(census, is_suspect=is_suspect, may_look_at_all=may_look_at_all)
        progress.census = asdict(census)
        progress.newest_s = max(progress.newest_s, runs.newest_s)
        progress.is_outdated |= bool(runs.vanished)
        if is_through or not is_suspect:
            progress.state = state_of(runs.entries)
        self._tag(progress)
        if asdict(progress) != before:
            progress.write(self._paths.published)
        return runs.has_looked

    def _tag(self, progress: StudyProgress) -> None:
        """Tell readers what of the attached files is up to date, and the next pass what this one has left."""
        assert self.parent is not None
        tags = {SENT_TAG: progress.state} if progress.state else {}
        if progress.newest_s:
            tags[NEWEST_TAG] = repr(float("inf") if progress.is_outdated else progress.newest_s)
        changed = {key: value for key, value in tags.items() if self.parent.tags.get(key) != value}
        if changed:
            self._tracker.set_tags(self.parent.id, changed)
            self.parent = self.parent._replace(tags={**self.parent.tags, **changed})
