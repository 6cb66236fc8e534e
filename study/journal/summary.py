"""What a run that is over left behind, in one small file beside it, so that nothing of it is ever parsed again.

The journal stays the truth. A summary counts as long as every file and folder that it was made from has the size and
the time of modification that it had; one that is missing, damaged, of another format or out of date is made anew and is
never an error, and a home that cannot be written is read without any. A file that was changed a moment ago may change
again within the resolution of the file system's clock, so that nothing of it would show: such a run is summed up later.

The file: a checksum of the rest; what judges the run, as a JSON object in a line; all the rest in another, which need
not be parsed to say where a study stands.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from study.errors import JournalError
from study.journal.files import names_in, read_bytes, read_json, write_atomic
from study.journal.replay import AttemptStatus, RunState, replay_run
from study.journal.side_by_side import side_by_side
from study.journal.states import brief, state_as_json, state_from_json
from study.paths import RunPaths

_FORMAT = 1
YOUNG_S = 5.0  # clocks of file systems tick every few milliseconds, old ones every two seconds
_YOUNG_NS = int(YOUNG_S * 1e9)
_RUN = RunPaths(Path())  # file names, relative to a run
_ATTEMPT = _RUN.attempt(1)
_SPEC, _SUMMARY, _ATTEMPTS, _EVALUATIONS = map(str, (_RUN.spec, _RUN.summary, _RUN.attempts, _RUN.evaluations))
_OF_RUN = (_SPEC, str(_RUN.trained), str(_RUN.reused), _ATTEMPTS, _EVALUATIONS)
_OF_ATTEMPT = tuple(p.name for p in (_ATTEMPT.job, _ATTEMPT.claim, _ATTEMPT.events, _ATTEMPT.verdict))
_MORE = (_SPEC, _ATTEMPT.job.name)  # what no judgement needs
_ABSENT = (-1, 0)
_decode = json.JSONDecoder().decode

Looks = Mapping[str, tuple[int, int]]  # path relative to the run → size, time of modification in ns


class FinalState(NamedTuple):
    """What became of a run, but for its training steps and what evaluations say beside numbers (`details`).

    Attributes:
        spec: contents of its spec.json.
        state: as of `replay_run`.
    """

    spec: dict[str, Any]
    state: RunState


def brief_state(run: RunPaths) -> RunState:
    """What became of a run: of one that is over what judges it, see `study.journal.states.brief`, else all but steps.

    Raises:
        JournalError: a file that was read is damaged.
    """
    found = _read(str(run.root))
    if found is not None:
        return state_from_json(found[0])
    state = _sum_up(run)
    return brief(state) if _is_over(state) else state


def brief_states(runs: Sequence[RunPaths]) -> Iterator[RunState]:
    """`brief_state` of each, in their order."""
    return side_by_side(brief_state, runs)


def final_state(run: RunPaths) -> FinalState:
    """What became of a run, and what it was.

    Raises:
        FileNotFoundError: it has no spec.json.
        JournalError: a file that was read is damaged.
    """
    found = _read(str(run.root))
    content = None if found is None else _decode(found[1].decode())
    if content is not None and _are(str(run.root), content["looks"]):
        return FinalState(content["spec"], state_from_json(content["state"]))
    state = _sum_up(run)
    return FinalState(read_json(run.spec), state)


def is_summed_up(run: RunPaths) -> bool:
    """Whether a run is over and all of its summary counts."""
    found = _read(str(run.root))
    return found is not None and _are(str(run.root), _decode(found[1].decode())["looks"])


def _sum_up(run: RunPaths) -> RunState:
    """Replay a run, and write its summary once it is over."""
    looks = _looks(str(run.root), _files(run))
    state = replay_run(run, with_steps=False)
    newest = max(t for _, t in looks.values())
    if _is_over(state) and time.time_ns() - newest > _YOUNG_NS:
        with suppress(OSError, JournalError, _YoungError):  # no right to write, a full disk; a damaged spec
            _write(run, looks, newest, state)
    return state


def _is_over(state: RunState) -> bool:
    """Whether nothing is to be found out about any attempt; the newest, if given back, may still stand in a queue."""
    last = state.last
    is_known = last is not None and last.is_over and not last.lacks_verdict and last.status is not AttemptStatus.REVOKED
    return is_known and all(attempt.status is not AttemptStatus.INTENDED for attempt in state.attempts)


class _YoungError(Exception):
    """By the file system's clock, which may not be ours, a file was changed a moment ago."""


def _write(run: RunPaths, looks: Looks, newest: int, state: RunState) -> None:
    has_last_words = all(attempt.status is not AttemptStatus.STARTED for attempt in state.attempts)
    later = (*_MORE, _ATTEMPT.claim.name) if has_last_words else _MORE  # else the claim tells that it started
    first, more = ([(p, *look) for p, look in looks.items() if p.endswith(later) is late] for late in (False, True))
    head = {"format": _FORMAT, "looks": first, "state": state_as_json(brief(state))}
    rest = {"looks": more, "spec": read_json(run.spec), "state": state_as_json(state)}
    body = b"".join(json.dumps(part, separators=(",", ":")).encode() + b"\n" for part in (head, rest))

    def write(file: BinaryIO) -> None:
        file.write(b"%08x\n" % zlib.crc32(body) + body)
        file.flush()
        if os.fstat(file.fileno()).st_mtime_ns - newest <= _YOUNG_NS:
            raise _YoungError

    write_atomic(run.summary, write, durable=False)


def _read(run: str) -> tuple[dict[str, Any], bytes] | None:
    """State in brief, if it counts, and all the rest, of which that is yet to be asked, from a run's summary."""
    try:
        data = read_bytes(f"{run}/{_SUMMARY}")
        if data is None:
            return None
        checksum, _, body = data.partition(b"\n")
        if int(checksum, 16) != zlib.crc32(body):
            return None
        line, _, rest = body.partition(b"\n")
        head = _decode(line.decode())
        if head["format"] != _FORMAT:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (head["state"], rest) if _are(run, head["looks"]) else None


def _are(run: str, looks: Iterable[tuple[str, int, int]]) -> bool:
    """Whether files and folders look as they did."""
    return all(_look(f"{run}/{path}") == (size, t_ns) for path, size, t_ns in looks)


def _files(run: RunPaths) -> Iterable[str]:
    """What a run's state is made from, relative to it; the folders first, so that what joins them later shows."""
    yield from _OF_RUN
    for attempt in run.existing_attempts():
        yield from (f"{_ATTEMPTS}/{attempt.root.name}/{name}" for name in _OF_ATTEMPT)
    for name in names_in(f"{run.root}/{_EVALUATIONS}"):
        if name.endswith(".json"):
            yield f"{_EVALUATIONS}/{name}"


def _looks(run: str, paths: Iterable[str]) -> Looks:
    return {path: _look(f"{run}/{path}") for path in paths}


def _look(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 (a hundred thousand of them)
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    return found.st_size, found.st_mtime_ns
