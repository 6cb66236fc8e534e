"""A tracker in memory that fails when it is told to."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from study.tracking.base import (
    KEY_TAG,
    PARENT_TAG,
    SUPERSEDED_TAG,
    Experiment,
    MetricRow,
    Page,
    RejectedError,
    RunStatus,
    Tracked,
    TrackerError,
    UnknownRunError,
)
from study.tracking.identity import Home


@dataclass
class MemoryRun:
    """What the tracker knows about a run."""

    experiment: str
    key: str
    start_ms: int
    parent: str | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    rows: list[MetricRow] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    status: RunStatus = RunStatus.RUNNING
    end_ms: int = 0
    is_deleted: bool = False

    def values(self, key: str) -> dict[int, float]:
        """Step → value of one metric."""
        return {row.step: row.value for row in self.rows if row.key == key}


class MemoryTracker:
    """Keeps everything in `runs`, by id; `calls` names the methods that were called.

    Attributes:
        rejects: keys of runs whose metrics are refused.
        before: called with the name of a method before it does anything; may raise.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.rejects: set[str] = set()
        self.before: Callable[[str], None] = lambda _: None
        self.is_down = False
        self.wipe()

    def wipe(self) -> None:
        """Forget everything and become another store."""
        self.runs: dict[str, MemoryRun] = {}
        self._num_created = 0
        self.store = object()

    def by_key(self, key: str) -> MemoryRun:
        """The one run with this key."""
        (run,) = [r for r in self.runs.values() if r.key == key and SUPERSEDED_TAG not in r.tags]
        return run

    def ensure_experiment(
        self, name: str, home: Home | None = None, *, known: str = "", is_shared: bool = False
    ) -> Experiment:
        self._call("ensure_experiment")
        return Experiment(name, f"{name}-{id(self.store)}", name)

    def find_runs(self, experiment: Experiment, key: str) -> list[Tracked]:
        self._call("find_runs")
        return [
            self._tracked(name) for name, run in self.runs.items() if (run.experiment, run.key) == (experiment.id, key)
        ]

    def members(
        self, experiment: Experiment, tag: str, value: str, *, after: str = "", size: int, is_deleted: bool = False
    ) -> Page:
        self._call("members")
        if after and not after.isdigit():
            raise TrackerError("what position?")
        among = [name for name, run in self.runs.items() if run.experiment == experiment.id]
        found = [
            run for run in map(self._tracked, among) if run.tags.get(tag) == value and run.is_deleted == is_deleted
        ]
        end = int(after or 0) + size
        return Page(found[int(after or 0) : end], str(end) if end < len(found) else "")

    def create_run(self, experiment: Experiment, key: str, *, start_ms: int, tags: Mapping[str, str]) -> None:
        self._call("create_run")
        rest = {name: value for name, value in tags.items() if name != PARENT_TAG}
        self._num_created += 1
        self.runs[f"run-{self._num_created}"] = MemoryRun(experiment.id, key, start_ms, tags.get(PARENT_TAG), tags=rest)

    def restore_run(self, run: str) -> None:
        self._call("restore_run")
        self._run(run).is_deleted = False

    def delete_run(self, run: str) -> None:
        self._call("delete_run")
        self._run(run).is_deleted = True

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        self._call("log_params")
        self._run(run).params = {**params, **self._run(run).params}

    def log_metrics(self, run: str, rows: Iterable[MetricRow]) -> int:
        self._call("log_metrics")
        known, new = self._run(run), list(rows)
        if known.key in self.rejects:
            raise RejectedError("no such metrics, please")
        present = {_identity(row) for row in known.rows}
        known.rows += [row for row in new if _identity(row) not in present]
        return len(new)

    def set_tags(self, run: str, tags: Mapping[str, str | None]) -> None:
        self._call("set_tags")
        known = self._run(run)
        if tags.get(PARENT_TAG) is not None:
            known.parent = tags[PARENT_TAG]
        set_to = {**known.tags, **tags}
        known.tags = {name: value for name, value in set_to.items() if value is not None and name != PARENT_TAG}

    def log_artifact(self, experiment: Experiment, run: str, file: Path, folder: str = "") -> None:
        self._call("log_artifact")
        self._run(run).artifacts[f"{folder}/{file.name}".removeprefix("/")] = file.read_bytes()

    def attached(self, experiment: Experiment, run: str) -> frozenset[str]:
        self._call("attached")
        return frozenset(self._run(run).artifacts)

    def without_artifact(self, experiment: Experiment, runs: Collection[str], name: str) -> frozenset[str]:
        self._call("without_artifact")
        return frozenset(run for run in runs if name not in self._run(run).artifacts)

    def set_status(self, run: str, status: RunStatus, end_ms: int) -> None:
        self._call("set_status")
        self._run(run).status, self._run(run).end_ms = status, end_ms

    def _tracked(self, name: str) -> Tracked:
        run = self.runs[name]
        tags = {**run.tags, KEY_TAG: run.key} | ({} if run.parent is None else {PARENT_TAG: run.parent})
        return Tracked(name, str(run.status), run.is_deleted, run.params, tags)

    def _run(self, run: str) -> MemoryRun:
        if run not in self.runs:
            raise UnknownRunError(run)
        return self.runs[run]

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self.before(name)
        if self.is_down:
            raise TrackerError("the tracker is down")


def _identity(row: MetricRow) -> tuple[object, ...]:
    return (row.key, row.timestamp_ms, row.step, "nan" if math.isnan(row.value) else row.value)
