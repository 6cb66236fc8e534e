"""The state of a run, read on from where the last reading ended: what a pass costs depends on what is new.

Of each attempt's journal, the few events that decide its state are kept, and two positions: the end of what has been
read, and the first line that may hold a step which has not been sent. The state is the fold of the kept events, by the
same function as everywhere; its steps are read when they are sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from study.errors import JournalError
from study.journal.files import read_json_or_none
from study.journal.replay import RunState, fold_attempt
from study.paths import AttemptPaths, RunPaths

_CHUNK = 1 << 20
_STEP, _NEAR_THE_START = b'"event": "step"', 64

Step = tuple[int, float, Mapping[str, float]]


@dataclass
class Journal:
    """What is remembered of the journal of an attempt.

    Attributes:
        read: bytes that have been read.
        unsent: where the first line begins that may hold a step to send.
        kept: the events that decide the attempt's state, in their order; a step has lost its metrics.
    """

    read: int = 0
    unsent: int = 0
    kept: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `as_json` wrote."""
        return cls(int(data["read"]), int(data["unsent"]), list(data["kept"]))

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and scalars."""
        return asdict(self)


def read_on(run: RunPaths, journals: dict[int, Journal]) -> RunState:
    """The state of a run, without its steps.

    Args:
        run: files of the run.
        journals: what is remembered of each attempt's journal; brought up to date.

    Raises:
        JournalError: a file that was read is damaged.
    """
    attempts = run.existing_attempts()
    for number in journals.keys() - {attempt.number for attempt in attempts}:
        del journals[number]
    states = []
    for attempt in attempts:
        journal = journals.setdefault(attempt.number, Journal())
        _read_on(attempt.events, journal)
        job, claim, verdict = map(read_json_or_none, (attempt.job, attempt.claim, attempt.verdict))
        states.append(fold_attempt(attempt.number, journal.kept, job=job or {}, claim=claim, verdict=verdict))
    files = sorted(run.evaluations.glob("*.json")) if run.evaluations.is_dir() else []
    evaluations = {file.stem: content for file in files if (content := read_json_or_none(file)) is not None}
    return RunState(tuple(states), read_json_or_none(run.trained), evaluations, read_json_or_none(run.reused))


def unsent_steps(run: RunPaths, state: RunState, journals: Mapping[int, Journal], after: int) -> Iterator[Step]:
    """Yield the settled steps above `after` and remember that they are sent; see `study.journal.replay.settled_steps`.

    Args:
        run: files of the run.
        state: its state, see `read_on`.
        journals: what is remembered of each attempt's journal.
        after: newest step that was sent.

    Raises:
        JournalError: a journal is damaged.
    """
    resumptions: dict[int, int] = {}
    for attempt in state.attempts:
        origin = (attempt.started or {}).get("resumed_attempt")
        if origin is not None:
            resumptions[int(origin)] = max(resumptions.get(int(origin), 0), attempt.resumed_step)
    for index, attempt in enumerate(state.attempts):
        if attempt.started is None:
            continue
        limits = [later.resumed_step for later in state.attempts[index + 1 :] if later.started is not None]
        if not attempt.is_trained:
            limits.append(max(attempt.checkpoint_step, resumptions.get(attempt.number, 0)))
        for step in _steps(run.attempt(attempt.number), journals[attempt.number], min(limits, default=None)):
            if step[0] > after:
                after = step[0]
                yield step


def _read_on(path: Path, journal: Journal) -> None:
    """Read complete lines from where the last reading ended; from the start when the file is another one."""
    try:
        with path.open("rb") as file:
            if journal.read and not _is_same(file, journal):
                journal.read, journal.unsent, journal.kept = 0, 0, []
            file.seek(journal.read)
            _keep(file, path, journal)
    except FileNotFoundError:
        journal.read, journal.unsent, journal.kept = 0, 0, []


def _is_same(file: BinaryIO, journal: Journal) -> bool:
    """Whether the file begins with the event that was read there."""
    first = file.readline()
    return file.seek(0, 2) >= journal.read and (not journal.kept or _first_t(first) == journal.kept[0]["t"])


def _first_t(line: bytes) -> Any:
    try:
        return json.loads(line)["t"]
    except (ValueError, TypeError, KeyError):
        return None


def _keep(file: BinaryIO, path: Path, journal: Journal) -> None:
    events, last_step = list(journal.kept), b""
    for line in _complete_lines(file):
        is_step = line.find(_STEP, 0, _NEAR_THE_START) >= 0
        last_step = line if is_step else b""
        if not is_step:
            events.append(_event(line, path, journal.read))
        journal.read += len(line)
    if last_step:
        events.append({**_event(last_step, path, journal.read - len(last_step)), "metrics": {}})
    journal.kept = _deciding(events)


def _complete_lines(file: BinaryIO) -> Iterator[bytes]:
    """Without half a line of a writer that was killed, or is writing."""
    while lines := file.readlines(_CHUNK):
        for line in lines:
            if not line.endswith(b"\n"):
                return
            yield line


def _deciding(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first, the last, and of those between as few as give the same state, see `fold_attempt`."""
    kinds = [event["event"] for event in events]
    wanted = {0, len(events) - 1} if events else set()
    wanted |= {kinds.index(kind) for kind in ("started", "trained") if kind in kinds}
    wanted |= {index for index, kind in enumerate(kinds) if kind == "failed" and "failed" not in kinds[index + 1 :]}
    for among, amount in (
        ([index for index, kind in enumerate(kinds) if kind == "checkpoint"], "step"),
        ([index for index, event in enumerate(events) if "cpu_s" in event], "cpu_s"),
    ):
        wanted |= {max(among, key=lambda index: float(events[index][amount]))} if among else set()
    return [{key: value for key, value in events[i].items() if key != "traceback"} for i in sorted(wanted)]


def _steps(attempt: AttemptPaths, journal: Journal, limit: int | None) -> Iterator[Step]:
    """Steps up to `limit` from the first that was not sent, which moves on."""
    if journal.unsent >= journal.read:
        return
    with attempt.events.open("rb") as file:
        file.seek(journal.unsent)
        while journal.unsent < journal.read:
            line = file.readline()
            if line.find(_STEP, 0, _NEAR_THE_START) >= 0:
                event = _event(line, attempt.events, journal.unsent)
                step = int(event["step"])
                if limit is not None and step > limit:
                    return
                yield step, float(event["t"]), event["metrics"]
            journal.unsent += len(line)


def _event(line: bytes, path: Path, position: int) -> dict[str, Any]:
    try:
        event = json.loads(line)
        if isinstance(event, dict) and "event" in event and "t" in event:
            return event
        reason = "no event"
    except ValueError as error:
        reason = str(error)
    message = f"{path} is damaged at byte {position} ({reason})"
    raise JournalError(f"{message}; move the run's folder away and start the study again")
