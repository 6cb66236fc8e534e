"""What became of a run, without its training steps: for whoever reads thousands of runs at once.

The same files and the same fold as `study.journal.replay`. Only what decides the outcome is read and parsed,
and files are opened below `pathlib`, whose objects cost more than reading such small files does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from study.errors import JournalError
from study.journal.files import read_json
from study.journal.replay import LAST_WORDS, AttemptState, AttemptStatus, RunState, fold_attempt
from study.paths import RunPaths

_RUN = RunPaths(Path())  # file names, relative to a run
_SPEC, _TRAINED, _REUSED = (f"/{p}" for p in (_RUN.spec, _RUN.trained, _RUN.reused))
_ATTEMPTS, _EVALUATIONS = (f"/{p}" for p in (_RUN.attempts, _RUN.evaluations))
_ATTEMPT = _RUN.attempt(1)
_CLAIM, _EVENTS, _VERDICT = (f"/{p.name}" for p in (_ATTEMPT.claim, _ATTEMPT.events, _ATTEMPT.verdict))
_decode = json.JSONDecoder().decode  # json.loads would first guess the encoding
_CPU, _BUFFER = b'"cpu_s": ', 1 << 16


class FinalState(NamedTuple):
    """A run's outcome.

    Attributes:
        spec: contents of its spec.json.
        state: as of `replay_run`, but of its attempts only `number`, `status`, `started`, `last_event`, `failure`,
            `verdict` and `cpu_s` are told.
    """

    spec: dict[str, Any]
    state: RunState


def final_state(run: str) -> FinalState:
    """Read the outcome of the run in the directory `run`.

    Raises:
        FileNotFoundError: it has no spec.json.
        JournalError: a file that was read is damaged.
    """
    numbers = sorted(int(name) for name in _names(run + _ATTEMPTS) if name.isdigit())
    attempts = tuple(_attempt(f"{run}{_ATTEMPTS}/{number:03d}", number) for number in numbers)
    evaluations = {}
    for name in sorted(_names(run + _EVALUATIONS)):
        if name.endswith(".json") and not name.startswith("."):
            evaluations[name[:-5]] = _object(f"{run}{_EVALUATIONS}/{name}") or {}
    spec = _object(run + _SPEC)
    if spec is None:
        raise FileNotFoundError(run + _SPEC)
    return FinalState(spec, RunState(attempts, _object(run + _TRAINED), evaluations, _object(run + _REUSED)))


def outcome(state: RunState) -> dict[str, Any]:
    """What a table says about a run besides its identity and its metrics; plain scalars.

    Keys: `is_trained`; `failure_kind` and `failure` of the newest attempt, if it failed; `num_attempts` that began;
    `interruptions`, the classes of endings that were not the run's own doing, in their order, with "; " between;
    `cpu_s` of all attempts; `code`, the hash of the code that trained it, and `evaluation_code`, that of each
    evaluation, as `knn=3f2a91c04b1d` with blanks between; of the first attempt that started: git `commit`, executed
    files that differ from it (`uncommitted`), sha256 of the training files (`dataset`; several where attempts found
    other ones), `cpu_model`, `python`, `libraries`, and when (`start_t`, seconds since the epoch); `end_t`, when the
    newest event happened; `reused`, the run of another study that this one was taken from. And what must equal that of
    other arms with the same seeds, see `_seen`.
    """
    started = next((a.started for a in state.attempts if a.started is not None), {})
    last = state.last
    failure = (last.failure or {}) if last is not None and last.status is AttemptStatus.FAILED else None
    datasets = dict.fromkeys(str((a.started or {}).get("dataset_fingerprint", "")) for a in state.attempts)
    return {
        "is_trained": state.trained is not None,
        "failure_kind": "" if failure is None else str(failure.get("kind", "error")),
        "failure": "" if failure is None else str(failure.get("message", "")),
        "num_attempts": sum(attempt.status is not AttemptStatus.REVOKED for attempt in state.attempts),
        "interruptions": "; ".join(a.verdict.kind for a in state.attempts if a.verdict and a.verdict.is_trouble),
        "cpu_s": state.cpu_s,
        "code": (state.trained or {}).get("code", ""),
        "evaluation_code": " ".join(sorted(_codes(state))),
        "commit": started.get("commit") or "",
        "uncommitted": ", ".join(f"{path} ({how})" for path, how in sorted(started.get("uncommitted", {}).items())),
        "dataset": " ".join(filter(None, datasets)),
        "cpu_model": started.get("cpu_model", ""),
        "python": started.get("python", ""),
        "libraries": ", ".join(f"{name} {version}" for name, version in (started.get("libraries") or {}).items()),
        "start_t": float(started.get("t", math.nan)),
        "end_t": max((float(a.last_event["t"]) for a in state.attempts if a.last_event), default=math.nan),
        "reused": f"{state.reused['study']}/{state.reused['run_id']}" if state.reused else "",
        **_seen(state),
    }


def _seen(state: RunState) -> dict[str, str]:
    """What an audit of pairing compares: hashes, or "" where a run has none.

    Of what the run saw: `loaded_weights` and `loaded_moments` before its first step; `seen_rows` of the images and
    `seen_views`, with `view_sketch`, numbers that differ little where views differ by rounding; `seen_steps`, which
    steps these cover, `1-80/4` for 80 with the views of 4; `evaluated`, for each evaluation `<key>=<labels and
    draws>/<images>`. Of what it was given, all that runs of earlier code have: `base_weights`, the file of its base;
    `data_stream`, the seeds of order and augmentation; `label_draws` of all evaluations.
    """
    paired, found = (state.trained or {}).get("paired", {}), sorted(state.evaluations.items())
    covered = "{first_step}-{last_step}/{num_view_steps}".format_map(paired) if "rows" in paired else ""
    hashes = {key: [_short(e.get(name, "")) for name in ("labels_sha256", "images_sha256")] for key, e in found}
    return {
        "base_weights": paired.get("base_weights", ""),
        "data_stream": _short("".join(paired.get(name, "") for name in ("order", "augmentation"))),
        "label_draws": _short("".join(e.get("labels_sha256", "") for _, e in found)),
        "loaded_weights": paired.get("loaded_weights", ""),
        "loaded_moments": paired.get("loaded_moments", ""),
        "seen_rows": _short(paired.get("rows", "")),
        "seen_views": _short(paired.get("views", "")),
        "view_sketch": " ".join(map(str, paired.get("sketch", ()))),
        "seen_steps": covered,
        "evaluated": " ".join(f"{key}={labels}/{images}" for key, (labels, images) in hashes.items() if labels),
    }


def _codes(state: RunState) -> Iterator[str]:
    for record in state.evaluations.values():
        if "code" in record:  # not in those of earlier code, which had one hash for training and evaluations
            yield f"{record['evaluation']['name']}={record['code'][:12]}"


def _short(text: str) -> str:
    """A hash that stands for what hashes to `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


def _attempt(root: str, number: int) -> AttemptState:
    events = _events(root + _EVENTS)
    has_last_word = bool(events) and events[-1]["event"] in LAST_WORDS
    claim = None if has_last_word else _object(root + _CLAIM)
    return fold_attempt(number, events, job={}, claim=claim, verdict=_object(root + _VERDICT))


def _events(path: str) -> list[dict[str, Any]]:
    """The first event (`started`, if it got so far), the last one that tells the CPU seconds, and the last one.

    CPU seconds only grow within an attempt, and a last word is the last line: nothing between matters here.
    """
    data = _bytes(path)
    if data is None:
        return []
    end = data.rfind(b"\n") + 1  # what follows is half a line of a killed writer
    starts = {0, _line_start(data, data.rfind(_CPU, 0, end)), _line_start(data, end - 1)} if end else set[int]()
    lines = [data[start : data.index(b"\n", start)] for start in sorted(starts)]
    try:
        events: list[dict[str, Any]] = _decode(f"[{b','.join(lines).decode()}]")  # one call instead of one per line
    except ValueError as error:
        message = f"{path} is damaged ({error}); move the run's folder away and start the study again"
        raise JournalError(message) from error
    return events


def _line_start(data: bytes, position: int) -> int:
    return data.rfind(b"\n", 0, max(position, 0)) + 1


def _object(path: str) -> dict[str, Any] | None:
    """A JSON object; None when there is no such file."""
    data = _bytes(path)
    if data is None:
        return None
    try:
        content = _decode(data.decode())
    except ValueError:
        content = None
    return content if isinstance(content, dict) else read_json(Path(path))  # which says what is wrong


def _bytes(path: str) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        parts = [os.read(handle, _BUFFER)]
        while len(parts[-1]) == _BUFFER or (len(parts) > 1 and parts[-1]):
            parts.append(os.read(handle, _BUFFER))
    finally:
        os.close(handle)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (a Path per name would cost more than the listing)
    except (FileNotFoundError, NotADirectoryError):
        return []
