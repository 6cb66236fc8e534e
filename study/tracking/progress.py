"""How far a store has got with a run: `published.json`, and what tells without reading that there is news."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from study.errors import JournalError
from study.journal.files import read_json_or_none, write_json
from study.paths import RunPaths
from study.plan.model import SCHEMA_VERSION


@dataclass
class Progress:
    """Contents of a published.json.

    Attributes:
        store: identity of the store; nothing is known about any other.
        tracked_run: the store's id of the run.
        seen: the run's files when they were published, see `glance`.
        step: newest step whose metrics were sent.
        evaluations: keys of those that were sent.
        status: the status that was set.
        artifacts: file → sha256 of what was sent.
    """

    store: str
    tracked_run: str
    seen: str = ""
    step: int = 0
    evaluations: list[str] = field(default_factory=list)
    status: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def read(cls, path: Path, store: str) -> Progress | None:
        """What was published to `store`; None when nothing is known, which costs time but no duplicates."""
        try:
            content = read_json_or_none(path)
        except JournalError:
            return None
        expected = {"store": store, "schema_version": SCHEMA_VERSION}
        if content is None or not expected.items() <= content.items():
            return None
        return cls(**content)

    def write(self, path: Path) -> None:
        """Replace the file at `path`."""
        write_json(path, asdict(self))


def glance(paths: RunPaths) -> str:
    """Text that changes whenever there is news of a run; reads no file."""
    attempts = [f"{a.number}:{_size(a.claim)}:{_size(a.events)}" for a in paths.existing_attempts()]
    trained = ["trained"] if paths.trained.exists() else []
    return " ".join([*attempts, *trained, *sorted(e.stem for e in paths.evaluations.glob("*.json"))])


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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
