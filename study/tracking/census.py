"""Are the runs of a group all there? Cheaply when they are, exactly when they are not.

A tracker tells what a run holds only together with all its parameters, tags and metrics: more than a millisecond a run.
So runs are counted from the last position that the tracker has named to us in an earlier count: one run is told when
nothing has changed. Whenever the count is not what it should be, all are looked at, a page at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from study.tracking.base import (
    HOME_TAG,
    KEY_TAG,
    SENT_TAG,
    SUPERSEDED_TAG,
    Experiment,
    Tracked,
    Tracker,
    TrackerError,
)

_PAGE = 250
_TAGS = (KEY_TAG, HOME_TAG, SENT_TAG, SUPERSEDED_TAG)


@dataclass(frozen=True)
class Group:
    """The runs of an experiment that have a tag.

    Attributes:
        experiment: which one.
        tag: name of the tag.
        value: its value.
    """

    experiment: Experiment
    tag: str
    value: str


@dataclass
class Census:
    """What is known of a group.

    Attributes:
        total: runs that must be there.
        before: how many of them come before `token`.
        token: a position, in the tracker's words.
    """

    total: int = 0
    before: int = 0
    token: str = ""

    def is_right(self, tracker: Tracker, group: Group) -> bool:
        """Count the runs from the last position on, and move it to the last run."""
        has_token = bool(self.token)
        try:
            while (left := self.total - self.before) > 1:
                size = min(_PAGE, left - 1)
                page = tracker.members(group.experiment, group.tag, group.value, after=self.token, size=size)
                if len(page.runs) < size or not page.after:
                    return False
                self.token, self.before = page.after, self.before + size
            page = tracker.members(group.experiment, group.tag, group.value, after=self.token, size=1)
        except TrackerError:
            if has_token:
                return False  # a position that the tracker does not understand, since it is another version
            raise
        return len(page.runs) == left and not page.after

    def take(self, tracker: Tracker, group: Group, interrupted: Callable[[], bool]) -> Mapping[str, Tracked] | None:
        """Look at every run, of which the tags of `_TAGS` are kept; None when interrupted."""
        self.total, self.before, self.token = 0, 0, ""
        found: dict[str, Tracked] = {}
        while True:
            page = tracker.members(group.experiment, group.tag, group.value, after=self.token, size=_PAGE)
            found |= {run.id: _short(run) for run in page.runs}
            self.total += len(page.runs)
            if not page.after:
                return found
            if interrupted():
                self.total, self.before, self.token = 0, 0, ""
                return None
            self.token, self.before = page.after, self.total


def deleted(tracker: Tracker, group: Group) -> frozenset[str]:
    """Ids of runs that were deleted and can be restored."""
    found, after = set[str](), ""
    while True:
        page = tracker.members(group.experiment, group.tag, group.value, after=after, size=_PAGE, is_deleted=True)
        found |= {run.id for run in page.runs}
        if not (after := page.after):
            return frozenset(found)


def _short(run: Tracked) -> Tracked:
    return run._replace(params={}, tags={tag: run.tags[tag] for tag in _TAGS if tag in run.tags})
