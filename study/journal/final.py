"""What a table says about a run, from its state."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from study.journal.replay import AttemptStatus, RunState


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
        "libraries": ", ".join(
            f"{name} {version}" for name, version in sorted((started.get("libraries") or {}).items())
        ),
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
