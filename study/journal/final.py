"""What a table says about a run, from its state."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from study.journal.replay import AttemptStatus, RunState


def outcome(state: RunState) -> dict[str, Any]:
    """What a table says about a run besides its identity and its metrics; plain scalars.

    Keys: `is_trained`; `failure_kind` and `failure` of the newest attempt, if it failed; `num_attempts` that began;
    `interruptions`, the classes of endings that were not the run's own doing, in their order, with "; " between;
    `cpu_s` of all attempts; `code` that trained it; and of the first attempt that started: git `commit`, sha256 of
    the training files (`dataset`), `cpu_model`, `python`, `libraries`, and when (`start_t`, seconds since the epoch);
    `end_t`, when the newest event happened; `reused`, the run of another study that this one was taken from. And what
    must equal that of other arms with the same seeds, each a hash or "": `base_weights`, `data_stream` (order of the
    images and augmentation), `label_draws`.
    """
    started = next((a.started for a in state.attempts if a.started is not None), {})
    last = state.last
    failure = (last.failure or {}) if last is not None and last.status is AttemptStatus.FAILED else None
    paired = (state.trained or {}).get("paired", {})
    stream = "".join(paired.get(name, "") for name in ("order", "augmentation"))
    draws = "".join(state.evaluations[key].get("labels_sha256", "") for key in sorted(state.evaluations))
    return {
        "is_trained": state.trained is not None,
        "failure_kind": "" if failure is None else str(failure.get("kind", "error")),
        "failure": "" if failure is None else str(failure.get("message", "")),
        "num_attempts": sum(attempt.status is not AttemptStatus.REVOKED for attempt in state.attempts),
        "interruptions": "; ".join(a.verdict.kind for a in state.attempts if a.verdict and a.verdict.is_trouble),
        "cpu_s": state.cpu_s,
        "code": (state.trained or {}).get("code", ""),
        "commit": started.get("commit") or "",
        "dataset": started.get("dataset_fingerprint", ""),
        "cpu_model": started.get("cpu_model", ""),
        "python": started.get("python", ""),
        "libraries": ", ".join(f"{name} {version}" for name, version in (started.get("libraries") or {}).items()),
        "start_t": float(started.get("t", math.nan)),
        "end_t": max((float(a.last_event["t"]) for a in state.attempts if a.last_event), default=math.nan),
        "reused": f"{state.reused['study']}/{state.reused['run_id']}" if state.reused else "",
        "base_weights": paired.get("base_weights", ""),
        "data_stream": _short(stream),
        "label_draws": _short(draws),
    }


def _short(text: str) -> str:
    """A hash that stands for what hashes to `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
