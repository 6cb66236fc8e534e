"""What a pass did, and what is said about it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from study.paths import RESERVED_NAMES
from study.tracking.base import HOME_TAG, HOST_TAG, PATH_TAG, STUDY_TAG, Experiment
from study.tracking.describe import NEWEST_TAG, PLAN_TAG
from study.tracking.identity import Home
from study.tracking.tracked import Found

_NUM_NAMED = 5


@dataclass
class PublishSummary:
    """What a pass did.

    Attributes:
        num_published: runs that were written to.
        num_unchanged: runs that were left alone.
        num_metrics: rows that were sent.
        problems: what could not be published, and why; the rest was.
        is_complete: False when there is no plan yet, the pass was interrupted, or another publisher works.
        experiment: name of the study's experiment.
        foreign: whose the experiment is that has the name of the study, when this one is kept apart.
        read_as: name of the study for those who read it from the store.
        notes: what was not as the last pass had left it, and what was done about it.
        lost: runs that the store did not have any more, or not as they were; they were published anew.
        reattached: files that the store did not have any more; they were attached anew.
    """

    num_published: int = 0
    num_unchanged: int = 0
    num_metrics: int = 0
    problems: list[str] = field(default_factory=list)
    is_complete: bool = True
    experiment: str = ""
    foreign: str = ""
    read_as: str = ""
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    reattached: list[str] = field(default_factory=list)

    @property
    def has_arrived(self) -> bool:
        """Whether the store has all that the home has."""
        return self.is_complete and not self.problems

    def as_text(self, study: str, shown_uri: str) -> str:
        """What was done, and what is strange."""
        name = f" (experiment {self.experiment!r})" if self.experiment not in ("", study) else ""
        counts = f"{self.num_published} runs published, {self.num_unchanged} had no news"
        first = f"{study} → {shown_uri}{name}: {counts}, {self.num_metrics} metric rows sent"
        advice = [f"to read it from there: python -m study report {self.read_as} --from {shown_uri}"]
        return "\n".join([first, *self.remarks(), *(advice if self.foreign else [])])

    def remarks(self) -> list[str]:
        """What was not as the last pass had left it, and what was done about it."""
        lost = [f"missing in MLflow, and published anew: {named(self.lost)}"] if self.lost else []
        files = [f"missing in MLflow, and attached anew: {named(self.reattached)}"] if self.reattached else []
        return [*lost, *files, *self.notes, *([self.foreign] if self.foreign else [])]


def named(names: Sequence[str]) -> str:
    """Names, the first few of many."""
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + more


def owner_in_words(tags: Mapping[str, str]) -> str:
    """Whose a study in a store is: home, host, when."""
    where = f"home {tags[PATH_TAG]} on {tags[HOST_TAG]}" if PATH_TAG in tags and HOST_TAG in tags else "an unknown home"
    about = [f"identity {tags[HOME_TAG][:6]}"] if HOME_TAG in tags else ["published by earlier code"]
    if PLAN_TAG in tags:
        about.append(f"plan {tags[PLAN_TAG]}")
    about.append(f"newest result {in_words(tags.get(NEWEST_TAG))}")
    return f"{where} ({', '.join(about)})"


def in_words(t: str | None) -> str:
    """A time, seconds since the epoch, for people."""
    try:
        return f"{datetime.datetime.fromtimestamp(float(t or ''), datetime.UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "unknown"


def about_move(experiment: Experiment) -> list[str]:
    """What was done because the home had moved."""
    note = (
        f"artifacts of experiment {experiment.name!r} lay in {experiment.moved_from}, which is not in this home (any "
        "more), and MLflow cannot change that: the experiment keeps its runs under another name, and everything is "
        "published anew"
    )
    return [note] if experiment.moved_from else []


def about_foreign(experiment: Experiment, study: str, home: Home) -> str:
    """Whose the experiment is that has the name of the study; "" when it is ours."""
    other = experiment.other
    if other is None:
        return ""
    owner, hint = owner_in_words(other), ""
    if HOME_TAG not in other and study.casefold() in RESERVED_NAMES:
        owner = "MLflow itself"
    elif other.get(HOME_TAG) == home.id:
        owner = f"study {other.get(STUDY_TAG)!r} of this home, whose name this store takes for the same"
    elif (other.get(HOST_TAG), other.get(PATH_TAG)) == home.here[:2]:
        hint = (
            " It was published from this very folder under another identity: if it is this home's own, and only "
            f"identity.json was lost, write {other[HOME_TAG]} there as its id."
        )
    return (
        f"foreign: experiment {study!r} of this store belongs to {owner}. It was not touched; this study is kept apart "
        f"as experiment {experiment.name!r}.{hint}"
    )


def about_parent(found: Found, *, was_known: bool) -> list[str]:
    """What is strange about the run that stands for the study."""
    notes = [f"the study's own run of before is marked as superseded: {why}" for why in found.superseded]
    if found.is_restored:
        notes.append("the study's own run had been deleted in MLflow, and was restored")
    elif found.is_new and was_known and not found.superseded:
        notes.append("the study's own run was missing in MLflow, and was published anew")
    return notes


def about_copy(home: Home) -> str:
    """That a home is a copy."""
    return (
        f"this home is a copy of {home.copied_from}: it has got an identity of its own ({home.short}), and its studies "
        "are kept apart from the other's"
    )
