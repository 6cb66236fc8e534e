"""The runs of a study, or the bases of a home, in one pass: what is new is sent, and what the store has lost."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from study.errors import JournalError
from study.paths import RunPaths
from study.tracking.base import (
    HOME_TAG,
    KEY_TAG,
    SENT_TAG,
    SUPERSEDED_TAG,
    RejectedError,
    Tracked,
    Tracker,
    UnknownRunError,
)
from study.tracking.census import Census, Group, deleted
from study.tracking.glance import glance
from study.tracking.ledger import Entry, Ledger
from study.tracking.progress import RunProgress
from study.tracking.runs import Destination, Sent, publish_run
from study.tracking.summary import PublishSummary, named
from study.tracking.tracked import supersede

_GONE = "the home has no such run any more"


@dataclass(frozen=True)
class Means:
    """What a pass is made with.

    Attributes:
        tracker: where to.
        ledger: what was published before.
        summary: what is done is noted here.
        interrupted: asked between runs; the pass ends early when it is true.
        is_thorough: look whether what was published is still there.
    """

    tracker: Tracker
    ledger: Ledger
    summary: PublishSummary
    interrupted: Callable[[], bool]
    is_thorough: bool


class GroupPass:
    """One pass over the runs of a group.

    Attributes:
        entries: what was published by this home to this store, by directory.
        newest_s: when the newest event happened of all that was published.
        num_added: tracked runs that came into the group.
        vanished: names of tracked runs that were marked because the home has no such run any more.
        has_looked: every tracked run was looked at.
    """

    def __init__(
        self, roots: Sequence[str], group: Group, to: Destination, means: Means, kept: Sequence[str] = ()
    ) -> None:
        """Prepare a pass.

        Args:
            roots: directories of the runs.
            group: where the tracked runs are.
            to: where new ones go.
            means: what to do it with.
            kept: directories of other runs whose tracked runs are in the group.
        """
        self._roots, self._kept, self._group, self._to = roots, kept, group, to
        self._tracker, self._ledger, self._summary = means.tracker, means.ledger, means.summary
        self._means, self._interrupted = means, means.interrupted
        self.entries = self._read(roots)
        self.newest_s, self.num_added = 0.0, 0
        self.vanished: list[str] = []
        self.has_looked = False

    def run(self, census: Census, *, is_suspect: bool = False, may_look_at_all: bool = True) -> bool:
        """Publish what is new, and what is gone.

        Args:
            census: what is known of the group; brought up to date.
            is_suspect: not everything may be there as it was sent.
            may_look_at_all: every tracked run may be looked at, if need be.

        Returns:
            Whether all that was sent is there, as far as a pass that is not thorough can tell.
        """
        tracker, group, is_thorough = self._tracker, self._group, self._means.is_thorough
        is_suspect |= census.total < len(self.entries)
        is_through = self._send_news(deleted(tracker, group) if is_thorough and self.entries else ())
        census.total += self.num_added
        if is_through and (is_suspect or (is_thorough and not census.is_right(tracker, group))):
            there = census.take(tracker, group, self._interrupted) if may_look_at_all else None
            self.has_looked = there is not None
            is_through = there is not None and self._send_lost(there, census)
        if is_through and is_thorough:
            self._attach_lost()
        self._summary.is_complete &= is_through
        return is_through

    def _read(self, roots: Sequence[str]) -> dict[str, Entry]:
        store, home = self._to.experiment.store, self._to.home.id
        found = ((root, self._ledger.entry(root)) for root in roots)
        return {root: entry for root, entry in found if entry is not None and entry.is_about(store, home)}

    def _send_news(self, lost: Container[str]) -> bool:
        """Publish what is new, and the tracked runs that are `lost`; False when interrupted."""
        for root in self._roots:
            if self._interrupted():
                self._summary.is_complete = False
                return False
            entry = self.entries.get(root)
            if entry is None and not Path(root, "spec.json").exists():
                continue  # nobody's, or being created
            seen = glance(root)
            if entry is None:
                self._publish(root, seen, is_known=False)
            elif entry.tracked_run in lost:
                self._publish(root, seen, is_known=False, was_lost=True)
            elif entry.parent not in ("", self._to.parent) or entry.has_news(root, seen):
                self._publish(root, seen, is_known=True)
            else:
                self._summary.num_unchanged += 1
        return True

    def _send_lost(self, there: Mapping[str, Tracked], census: Census) -> bool:
        """Publish anew what is not `there` as it was sent, and mark what is but no longer in the home.

        Args:
            there: all runs of the group, by id.
            census: how many they are; brought up to date.

        Returns:
            False when interrupted.
        """
        entries, num_published = dict(self.entries), self._summary.num_published
        lost = [root for root, entry in entries.items() if not _is_there(entry, there)]
        for root in lost:
            if self._interrupted():
                return False
            self._publish(root, glance(root), is_known=False, was_lost=True)
        self._summary.num_unchanged -= self._summary.num_published - num_published
        census.total += len({entry.tracked_run for entry in self.entries.values()} - there.keys())
        self._mark_others(there, entries)
        return True

    def _mark_others(self, there: Mapping[str, Tracked], entries: Mapping[str, Entry]) -> None:
        """Mark runs of ours that are none of `entries`, nor of what was published meanwhile."""
        now = self.entries | self._read(self._kept)
        known = {entry.tracked_run for entry in (*entries.values(), *now.values())}
        names = {root.rpartition("/")[2]: now.get(root) for root in (*self._roots, *self._kept)}
        for run in there.values():
            key = run.tags.get(KEY_TAG)
            is_ours = self._to.experiment.is_own or run.tags.get(HOME_TAG, self._to.home.id) == self._to.home.id
            if key is None or not is_ours or run.id in known or SUPERSEDED_TAG in run.tags:
                continue
            if key not in names:
                supersede(self._tracker, run, key, _GONE)
                self.vanished.append(key)
            elif names[key] is not None:  # a duplicate that was deleted once, and came back with its experiment
                supersede(self._tracker, run, key, "another tracked run is about the same run")
        if self.vanished:
            self._summary.notes.append(f"marked as superseded, because {_GONE}: {named(sorted(self.vanished))}")

    def _attach_lost(self) -> None:
        """Attach the files anew that the store has lost."""
        runs = {entry.tracked_run: RunPaths(Path(root)) for root, entry in self.entries.items()}
        for run in sorted(self._tracker.without_artifact(self._to.experiment, runs, "spec.json")):
            self._tracker.log_artifact(self._to.experiment, run, runs[run].spec)
            self._summary.reattached.append(f"spec.json of {runs[run].root.name}")

    def _publish(self, root: str, seen: str, *, is_known: bool, was_lost: bool = False) -> None:
        paths = RunPaths(Path(root))
        progress = RunProgress.read(paths.published) if is_known else None
        try:
            publish = partial(publish_run, paths, seen, self._to, self._tracker)
            try:
                sent = publish(progress)
            except UnknownRunError:
                sent, was_lost = publish(None), was_lost or is_known
        except (JournalError, RejectedError, LookupError, TypeError, ValueError) as error:
            # files that are damaged or make no sense must not hold up the other runs
            self._summary.problems.append(f"{root}: {type(error).__name__}: {error}")
            return
        self.entries |= self._read((root,))
        self._note(paths.root.name, sent, was_lost=was_lost)

    def _note(self, name: str, sent: Sent, *, was_lost: bool) -> None:
        self._summary.num_metrics += sent.num_metrics
        self._summary.num_published += 1
        self.newest_s = max(self.newest_s, sent.newest_s)
        self.num_added += sent.is_added
        if was_lost and not sent.is_adopted:
            self._summary.lost.append(name)
        for why in sent.superseded:
            self._summary.notes.append(f"{name}: {why}; the tracked run of before is marked as superseded")


def _is_there(entry: Entry, there: Mapping[str, Tracked]) -> bool:
    """Whether the tracked run is there, as it was sent."""
    run = there.get(entry.tracked_run)
    return run is not None and run.tags.get(SENT_TAG, "") == entry.sent and SUPERSEDED_TAG not in run.tags
