"""How far a store has got: `published.json` of a run, of a study, and of all bases."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from study.errors import JournalError
from study.journal.files import read_json_or_none, write_json
from study.paths import StudyPaths
from study.plan.model import SCHEMA_VERSION
from study.tracking.glance import short_hash


@dataclass
class Progress:
    """What both have in common.

    Attributes:
        store: identity of the store; nothing is known about any other.
        tracked_run: the store's id of the run.
        home: identity of the home that published; "" when earlier code did.
        status: the status that was set.
    """

    store: str
    tracked_run: str
    home: str = ""
    status: str = ""
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What was published; None when nothing is known, which costs time but no duplicates."""
        try:
            content = read_json_or_none(path)
            if content is None or content.get("schema_version") != SCHEMA_VERSION:
                return None
            return cls._from_json(content)
        except (JournalError, TypeError, ValueError, KeyError, AttributeError):
            return None

    @classmethod
    def _from_json(cls, content: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})

    def is_about(self, store: str, home: str) -> bool:
        """Whether this home published it to this store."""
        return self.store == store and self.home in ("", home)

    def write(self, path: Path) -> None:
        """Replace the file at `path`."""
        write_json(path, asdict(self))


@dataclass
class RunProgress(Progress):
    """Contents of a run's published.json.

    Attributes:
        seen: the run's files when they were published, see `study.tracking.glance.glance`.
        parent: the tracked run that it is below.
        step: newest step whose metrics were sent.
        evaluations: keys of those that were sent, and when each was made; None when earlier code sent it.
        start_t: when the first attempt started, seconds since the epoch.
        weights: hash of the trained weights.
        journals: attempt → what is remembered of its journal, see `study.tracking.journals.Journal`.
        sent: stands for all that was sent; the tracked run has it too.
    """

    seen: str = ""
    parent: str = ""
    step: int = 0
    evaluations: dict[str, float | None] = field(default_factory=dict)
    start_t: float | None = None
    weights: str = ""
    journals: dict[str, Any] = field(default_factory=dict)
    sent: str = ""

    @classmethod
    def _from_json(cls, content: Mapping[str, Any]) -> Self:
        evaluations = content.get("evaluations", {})
        if isinstance(evaluations, list):
            evaluations = dict.fromkeys(evaluations)  # earlier code
        return super()._from_json({**content, "evaluations": evaluations})

    def digest(self) -> str:
        """Stands for all that was sent: equal when the same was sent of the same training."""
        sent = [self.step, sorted(self.evaluations.items()), self.status, self.start_t, self.weights]
        ends = {number: journal["kept"][-1:] for number, journal in self.journals.items()}
        return short_hash(json.dumps([sent, ends], sort_keys=True))


@dataclass
class GroupProgress(Progress):
    """Contents of the published.json of all bases.

    Attributes:
        census: see `study.tracking.census.Census`.
    """

    census: dict[str, Any] = field(default_factory=dict)


@dataclass
class StudyProgress(GroupProgress):
    """Contents of a study's published.json.

    Attributes:
        experiment: its name in the store.
        artifacts: file → sha256 of what was sent.
        sizes: file → its size and time when it was sent, so that it need not be read again.
        newest_s: when the newest event happened that was published.
        is_outdated: runs that are attached as a table are no longer the home's.
        framed: what the attached table was made from, see `study.tracking.parent.frame_key`.
        state: stands for all runs as they were published; the tracked run has it too.
    """

    experiment: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, str] = field(default_factory=dict)
    newest_s: float = 0.0
    is_outdated: bool = False
    framed: str = ""
    state: str = ""


def kept_apart(study: StudyPaths) -> str:
    """A sentence about the name that a study has in the store, when another home's has its own; else ""."""
    progress, name = StudyProgress.read(study.published), study.root.name
    if progress is None or not progress.experiment.startswith(f"{name}@"):
        return ""
    return (
        f"Experiment {name!r} of that MLflow store belongs to another home; this study is experiment "
        f"{progress.experiment!r} ({study.root / 'publisher.log'} says more)."
    )


@contextmanager
def only_publisher(folder: Path) -> Iterator[bool]:
    """Say whether nobody else publishes what is in `folder`; two publishers would create runs twice."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(handle)
    finally:
        with suppress(OSError):  # closing is not enough: a forked child may hold the handle open
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without such locks; the lease of the study has to do
    return True
